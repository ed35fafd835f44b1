//! The template and the packages, deployed to MiniStack.

use local_stack::backend::BackendKind;

#[tokio::test(flavor = "multi_thread")]
async fn the_template_deployed_to_ministack() {
    end_to_end::deployed::deployed(BackendKind::MiniStack).await;
}
