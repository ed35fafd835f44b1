//! The whole path on LocalStack: an endpoint or a container where there is one, else host mode.

use local_stack::backend::BackendKind;

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_path_on_localstack() {
    end_to_end::whole_path(BackendKind::LocalStack).await;
}
