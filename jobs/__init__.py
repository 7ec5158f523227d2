"""What runs on the instance: `python -m jobs`. It knows nothing of the launcher, nor the launcher of it."""
