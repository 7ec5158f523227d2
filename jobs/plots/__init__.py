"""Pictures of a training, one kind a file; `canvas` draws, and only there is matplotlib."""
