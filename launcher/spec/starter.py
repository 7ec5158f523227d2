"""The commented spec that `gpurun init` writes."""

from __future__ import annotations

from launcher.spec import values

_YAML_WORDS = frozenset({"true", "false", "null", "yes", "no", "on", "off", "y", "n"})

_TEMPLATE = """\
# What gpurun is to run, and on what. `gpurun launch` reads this file; all but `run` may be left out.
name: {name}

# A shell script, or a list such as [python, train.py, --epochs, 20].
# What the job writes to $GPURUN_OUTPUT_DIR comes home, checked, before the machine is gone.
run: |
  echo "running on $GPURUN_DEVICE with $GPURUN_FLOATX"
  echo done > "$GPURUN_OUTPUT_DIR/result.txt"

# workdir: .                # the folder that goes up, less .gitignore and .gpurunignore over it
# data: data                # a file, a folder or s3://bucket/prefix; the job finds it in $GPURUN_DATA_DIR
# env:
#   EPOCHS: 20
# secrets: [WANDB_API_KEY]  # names alone; the values come from your environment

device: gpu                 # gpu or cpu
floatx: float32             # float16, bfloat16, float32 or float64

resources:
  # gpu: t4                 # or a10g:2, or kind, count and memory; left out: any one GPU
  # vcpus: 4
  # memory: 16 GiB
  # instance_types: [g4dn.xlarge, g5.xlarge]
  # architecture: arm64     # left out: x86_64, or that of the instance_types
  # regions: [us-east-1]    # all: every one that the account has enabled
  # zones: [us-east-1a]
  spot: prefer              # true: spot alone; false: on-demand alone; prefer: spot, else on-demand
  disk: 50 GiB
  # image: ami-0abcd1234abcd1234   # or name:PATTERN, tag:gpurun:image=latest, ssm:/PARAMETER

limits:
  max_hours: 4              # then the machine ends itself, whatever happens
  # max_cost: 2.50          # US dollars, all in all
  # max_price: 0.60         # US dollars an hour
  # max_restarts: 10        # how often it may go on on another machine after it lost one

# outputs: results          # where the results go, or s3://bucket/prefix; left out: runs/<id>/
# checkpoint: true          # whether checkpoints come home too
# keep_on_failure: 30m      # keep the machine of a failed job for a look

# ssh:
#   user: ubuntu
#   key: ~/.ssh/id_ed25519  # left out: a key is made for the run and deleted with it
#   config_file: ~/.ssh/config
#   proxy: me@bastion

# compare:                  # what `gpurun compare-cpu-gpu` does with it where nothing else is said
#   devices: [cpu, gpu]
#   floatx: [float32, bfloat16]
#   backends: [tensorflow]  # or jax, torch; for jobs that heed GPURUN_BACKEND
#   on: same                # or best, local, ssh://me@box, local+aws
#   instance_types: [g4dn.xlarge, g5.xlarge]
#   repeat: 3
#   target: 0.05            # an error: how long each takes to get there
#   sweep:                  # the job reads GPURUN_SETTING_BATCH_SIZE
#     batch_size: 32..4096  # doubled; 10..500:10 steps by tens; 10,50,100 are these
#   title: What the GPU buys
#   cited:                  # what others measured, to stand beside
#     - {{device: cpu, seconds: 312.7, error: 6.5 %, by: the old machine}}
#     - the old machine: bought in 2012
"""


def template(name: str) -> str:
    """A spec that loads as it stands, with every field shown; `name` may be any text."""
    return _TEMPLATE.format(name=_quoted(values.slug(name)))


def _quoted(name: str) -> str:
    """With quotes where YAML would take it for a number or a word of its own."""
    return name if name[0].isalpha() and name not in _YAML_WORDS else f'"{name}"'
