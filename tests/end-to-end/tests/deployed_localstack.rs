//! The template and the packages, deployed to LocalStack.

use local_stack::backend::BackendKind;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "LocalStack takes over a minute to deploy; make deployed runs it, and so does CI"]
async fn the_template_deployed_to_localstack() {
    end_to_end::deployed::deployed(BackendKind::LocalStack).await;
}
