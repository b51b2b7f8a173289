"""One rank's side of a store: buffers, retries, and what the ranks of a job agree on."""
