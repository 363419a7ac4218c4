"""A stage server's life: requests, operations, progress, errors, health, shutdown."""
