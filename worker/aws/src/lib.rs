//! AWS adapters behind the writer's ports.
