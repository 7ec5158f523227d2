"""Outputs that a machine sends to S3 by itself, as its laptop sees them: checked before, permitted, found and fetched.

Below `s3://bucket/prefix/RUN/` lie `results/` (the job's output under its own names, once it has ended), `generations/`
(manifests, each written when all that it names was there) and `objects/` (the contents that they name). The machine's
half is `launcher.agent.ship`; it holds no credentials, only a form signed here. IAM actions on the prefix:
s3:ListBucket, s3:PutObject and s3:GetObject; s3:DeleteObject to take back what is not needed.
"""

from launcher.aws.durable.check import Checked, check
from launcher.aws.durable.generation import Generation
from launcher.aws.durable.grant import Grant, mint, until
from launcher.aws.durable.newest import generations, newest
from launcher.aws.durable.place import Place
from launcher.aws.durable.pull import pull_into, pull_newest
from launcher.aws.durable.tidy import tidy

__all__ = [
    "Checked",
    "Generation",
    "Grant",
    "Place",
    "check",
    "generations",
    "mint",
    "newest",
    "pull_into",
    "pull_newest",
    "tidy",
    "until",
]
