"""From a spec to a plan: which pools to try, best first, and what the run is expected to cost, and at most."""

from launcher.plan.budget import BUDGET_SPREAD, within_budget
from launcher.plan.experience import Experience, experience
from launcher.plan.freight import notice_check, objection
from launcher.plan.needs import MIN_CPU_MEMORY_BYTES, MIN_CPU_VCPUS, needed
from launcher.plan.planner import make
from launcher.plan.ranking import MAX_POOLS, rank
from launcher.plan.survey import Survey, survey

__all__ = [
    "BUDGET_SPREAD",
    "MAX_POOLS",
    "MIN_CPU_MEMORY_BYTES",
    "MIN_CPU_VCPUS",
    "Experience",
    "Survey",
    "experience",
    "make",
    "needed",
    "notice_check",
    "objection",
    "rank",
    "survey",
    "within_budget",
]
