//! Decisions about chunks, batches, checkpoints and gaps: values in, values out.
