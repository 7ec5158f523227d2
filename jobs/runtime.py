"""Backend, device, floating-point type and mode, set before Keras is imported, and what became of them."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from jobs.config import HALF
from jobs.errors import JobError
from jobs.quiet import without_greetings

if TYPE_CHECKING:
    from jobs.config import Config

NO_GPU = "asked for a GPU, {} sees none: say --device cpu or pick an image with drivers"
INSTALLS = MappingProxyType(
    {
        "tensorflow": "pip install 'gpurun-launcher[jobs]'",
        "jax": "pip install 'gpurun-launcher[jax]', or say --backend tensorflow",
        "torch": "pip install 'gpurun-launcher[torch]', or say --backend tensorflow",
    }
)
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""What Linux calls the instructions in /proc/cpuinfo, on x86 and (the last) on Arm."""


def start(config: Config) -> None:
    """Import Keras, unless a server of trials has, and set it up as `config` says (some seconds).

    Raises `JobError` where something is missing.
    """
    if "keras" not in sys.modules:
        load(config.backend, config.device, config.floatx)
    configure(config)


def load(backend: str, device: str, floatx: str) -> None:
    """Set the environment, then import Keras and its backend; nothing is computed yet, so a process may still fork.

    Raises `JobError` where the backend is missing.
    """
    os.environ["KERAS_BACKEND"] = backend
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
        os.environ["JAX_PLATFORMS"] = "cpu"
        os.environ["KERAS_TORCH_DEVICE"] = "cpu"
    else:
        _share_the_gpu()
    if floatx == "float64":
        os.environ["JAX_ENABLE_X64"] = "1"
    with without_greetings():
        _import_keras(_kept_in(floatx), backend)


def _share_the_gpu() -> None:
    """Let several trainings have parts of its memory, and ask it for the same bits each time.

    PyTorch is not to start CUDA at import: a process that has cannot fork.
    """
    os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_gpu_deterministic_ops" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def configure(config: Config) -> None:
    """Set Keras and its backend to floatx, threads and mode.

    With the half types, what is computed is half and what is kept is float32 (Keras's mixed policies): a weight
    of eight bits' precision would swallow most of its updates. Raises `JobError` where the GPU is missing.
    """
    import keras  # noqa: PLC0415  # only now

    if keras.backend.backend() != config.backend:
        raise RuntimeError(f"Keras is imported already, on {keras.backend.backend()}: {config.backend} comes too late")
    with without_greetings():
        {"tensorflow": _start_tensorflow, "jax": _start_jax, "torch": _start_torch}[config.backend](config)
    keras.config.set_floatx(_kept_in(config.floatx))
    keras.config.set_dtype_policy(f"mixed_{config.floatx}" if config.floatx in HALF else config.floatx)


def _kept_in(floatx: str) -> str:
    """What the weights are kept in when `floatx` is computed in."""
    return "float32" if floatx in HALF else floatx


def _import_keras(floatx: str, backend: str) -> None:
    """Import it with a keras.json of our own: Keras reads floatx there alone, and else writes one to the home.

    Where scikit-learn is installed, Keras imports it for wrappers that no job uses: a fifth of the whole import.
    Told that there is none, it does without.
    """
    settings = {"backend": backend, "floatx": floatx, "epsilon": 1e-07, "image_data_format": "channels_last"}
    before = os.environ.get("KERAS_HOME")
    hidden = sys.modules.setdefault("sklearn", None) is None  # type: ignore[arg-type]  # None: "not to be had"
    with tempfile.TemporaryDirectory() as home:
        Path(home, "keras.json").write_text(json.dumps(settings), encoding="utf-8")
        os.environ["KERAS_HOME"] = home
        try:
            import keras  # noqa: F401, PLC0415  # this is the import
        except ModuleNotFoundError as error:
            raise JobError(
                f"{(error.name or 'Keras').partition('.')[0]} is not installed: {INSTALLS[backend]}"
            ) from error
        finally:
            os.environ.pop("KERAS_HOME") if before is None else os.environ.update(KERAS_HOME=before)
            if hidden:
                del sys.modules["sklearn"]


def _start_tensorflow(config: Config) -> None:
    import tensorflow as tf  # noqa: PLC0415  # only now

    tf.get_logger().setLevel("ERROR")  # it warns where many functions are traced; each stage has its own
    if config.threads:
        tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    if config.threads == 1:
        tf.config.threading.set_inter_op_parallelism_threads(1)  # small operations are not worth handing over
    if config.device == "gpu" and not tf.config.list_physical_devices("GPU"):
        raise JobError(NO_GPU.format("TensorFlow"))
    if config.device == "gpu":
        tf.config.experimental.enable_op_determinism()
    tf.config.list_logical_devices()  # its runtime starts, and greets, now
    if config.mode == "FAST_COMPILE":
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    elif config.mode == "NanGuardMode":
        tf.debugging.enable_check_numerics()
    elif config.mode == "DebugMode":
        tf.config.run_functions_eagerly(True)
        tf.debugging.enable_check_numerics()


def _start_jax(config: Config) -> None:
    import jax  # noqa: PLC0415  # only now

    jax.config.update("jax_enable_x64", config.floatx == "float64")
    if config.device == "gpu" and jax.default_backend() != "gpu":
        raise JobError(NO_GPU.format("JAX"))
    if config.mode == "FAST_COMPILE":
        jax.config.update("jax_disable_most_optimizations", True)
    elif config.mode in {"NanGuardMode", "DebugMode"}:
        jax.config.update("jax_debug_nans", True)
        jax.config.update("jax_debug_infs", True)
    if config.mode == "DebugMode":
        jax.config.update("jax_disable_jit", True)


def _start_torch(config: Config) -> None:
    import torch  # noqa: PLC0415  # only now

    if config.device == "gpu" and not torch.cuda.is_available():
        raise JobError(NO_GPU.format("PyTorch"))
    if config.device == "gpu":
        torch.use_deterministic_algorithms(True)
    if config.threads:
        torch.set_num_threads(config.threads)
    if config.mode in {"NanGuardMode", "DebugMode"}:
        torch.autograd.set_detect_anomaly(True)


def device_of(variable: Any) -> str:
    """`cpu` or `gpu`: where a variable of the trained model lies, and so where its operations ran."""
    value = variable.value
    backend = os.environ["KERAS_BACKEND"]
    if backend == "tensorflow":
        return str(value.device).rpartition("device:")[2].partition(":")[0].lower()
    found = next(iter(value.devices())).platform if backend == "jax" else value.device.type
    return "gpu" if found in {"gpu", "cuda", "rocm"} else str(found)


def slow_half(config: Config) -> str | None:
    """What to say where the half type that is asked for makes this processor slower, not quicker."""
    if config.device != "cpu" or config.floatx not in HALF:
        return None
    if config.floatx == "float16":
        return "A CPU only emulates float16, tens of times slower than float32: bfloat16 is the quick half type here"
    if BFLOAT16_FLAGS & processor_flags():
        return None
    return "This processor has no bfloat16 instructions: float32 is quicker here"


def processor_flags() -> frozenset[str]:
    """The instruction sets of the processor, as Linux names them; empty where it cannot be asked."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    names = (line.partition(":")[2] for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(names, "").split())


def versions() -> dict[str, str]:
    """What the numbers may depend on."""
    packages = ("numpy", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch")
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def threads() -> dict[str, int]:
    """How many processors there are: another number adds up in another order, and gives other last bits."""
    every = os.cpu_count() or 0
    return {"processors": every, "usable": len(os.sched_getaffinity(0)) if sys.platform == "linux" else every}
