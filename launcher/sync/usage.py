"""What the job used, as GNU `time` prints it by default."""

from __future__ import annotations

from launcher.domain import JobUsage


def time_lines(usage: JobUsage) -> list[str]:
    """The two lines: user, system and elapsed seconds, %CPU, peak memory in KiB, then inputs, outputs and faults."""
    percent = f"{usage.cpu_percent}%" if usage.elapsed_s else "?%"
    return [
        f"{usage.user_s:.2f}user {usage.system_s:.2f}system {_clock(usage.elapsed_s)}elapsed {percent}CPU "
        f"(0avgtext+0avgdata {usage.max_rss_kib}maxresident)k",
        f"{usage.inputs}inputs+{usage.outputs}outputs "
        f"({usage.major_faults}major+{usage.minor_faults}minor)pagefaults 0swaps",
    ]


def _clock(seconds: float) -> str:
    hundredths = int(seconds * 100)
    minutes, hundredths = divmod(hundredths, 6000)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02}:{hundredths // 100:02}"
    return f"{minutes}:{hundredths // 100:02}.{hundredths % 100:02}"
