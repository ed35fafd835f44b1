//! What an emulator without imports can show of one: the part of the template that `scripts/adopt.py` imports with is a template in
//! its own right, and the whole one, deployed over it, makes nothing of it anew.

use std::path::Path;

use local_stack::project;
use local_stack::resources::{SessionStatus, put_session};
use serde_json::Value;

use super::Account;

const KEPT: &str = "kept-session";

impl Account {
    /// A stack of what would be imported becomes the whole one, and holds what it held.
    pub(super) async fn becomes_whole_from_its_import(&self) {
        let (dlq, sessions) = (format!("{}-chunks-dlq.fifo", self.stack), format!("{}-sessions", self.stack));
        let change_set = self.import(&dlq, &sessions).await;
        let body = change_set["TemplateBody"].as_str().unwrap();
        let parameters = change_set["Parameters"].to_string();
        let stack = ["--stack-name", self.stack];
        let made = ["--template-body", body, "--parameters", &parameters];
        self.aws(&[&["cloudformation", "create-stack"], &stack[..], &made].concat()).await;
        self.aws(&[&["cloudformation", "wait", "stack-create-complete"], &stack[..]].concat()).await;

        let url = self.sqs().get_queue_url().queue_name(&dlq).send().await.unwrap().queue_url.unwrap();
        let sent = self.sqs().send_message().queue_url(&url).message_group_id(KEPT).message_body("{}");
        sent.message_deduplication_id(KEPT).send().await.unwrap();
        put_session(&self.dynamodb(), &sessions, KEPT, SessionStatus::Active).await.unwrap();

        self.deploy().await;
        let outputs = self.outputs().await;
        assert_eq!(outputs.sessions, sessions);
        assert!(
            outputs.dlq.ends_with(&dlq),
            "the whole template makes another dead-letter queue: {}",
            outputs.dlq
        );
        assert_eq!(
            self.depth(&outputs.dlq).await,
            1,
            "the whole template makes the dead-letter queue anew: parked audio is lost"
        );
        let key = format!("{{\"sessionId\": {{\"S\": \"{KEPT}\"}}}}");
        let item = self.aws(&["dynamodb", "get-item", "--table-name", &sessions, "--key", &key]).await;
        assert!(item["Item"].is_object(), "the whole template makes the sessions table anew: {item}");
    }

    /// The change set that `scripts/deploy.sh` would import with.
    async fn import(&self, dlq: &str, sessions: &str) -> Value {
        let (script, template) =
            (project::root().join("scripts/adopt.py"), project::root().join("infra/template.yaml"));
        let kept = [
            format!("DeadLetterQueue={dlq}"),
            format!("StateTable={}-state", self.stack),
            format!("SessionsTable={sessions}"),
        ];
        let mut arguments = vec![script.to_str().unwrap(), template.to_str().unwrap(), self.stack];
        arguments.extend(kept.iter().map(String::as_str));
        // These belong to no kept resource, and the template asks for them.
        arguments.extend(["--", "CodeBucket=none", "CodePrefix=none", "TokenIssuer=https://issuer.example"]);
        serde_json::from_str(&self.run(Path::new("python3"), &arguments, &[]).await).unwrap()
    }
}
