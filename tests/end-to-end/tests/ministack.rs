//! The whole path on MiniStack.

use local_stack::backend::BackendKind;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_path_on_ministack() {
    end_to_end::whole_path(BackendKind::MiniStack).await;
}
