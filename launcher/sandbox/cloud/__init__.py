"""The sandbox cloud: moto behind a thin layer of ours that makes it behave as EC2 does."""
