"""The words of the house: frozen values that every room passes on. Standard library only."""

from launcher.domain.cloud import AWS, LOCAL, Account, Market, SpotPolicy
from launcher.domain.device import Device, FloatX
from launcher.domain.files import FileEntry, FileKind, Manifest, TransferProgress
from launcher.domain.job import JobSpec, Limits, Requirements, SshOptions
from launcher.domain.machine import Endpoint, HostKey, Instance
from launcher.domain.plan import Assumptions, CostEstimate, ExpectedCost, Gpu, Image, Measured, NoticeCheck, Offer, Plan
from launcher.domain.receipt import NOT_NEEDED, PhaseTime, Receipt, Segment, SegmentCost
from launcher.domain.report import Interruption, JobReport, JobUsage, Shipped
from launcher.domain.run import TAG_DEADLINE, TAG_NAME, TAG_RUN, TAG_SEGMENT, TRANSITIONS, RunId, RunStatus
from launcher.domain.wish import CitedLeg, ComparisonWish, LegOrder

__all__ = [
    "AWS",
    "LOCAL",
    "NOT_NEEDED",
    "TAG_DEADLINE",
    "TAG_NAME",
    "TAG_RUN",
    "TAG_SEGMENT",
    "TRANSITIONS",
    "Account",
    "Assumptions",
    "CitedLeg",
    "ComparisonWish",
    "CostEstimate",
    "Device",
    "Endpoint",
    "ExpectedCost",
    "FileEntry",
    "FileKind",
    "FloatX",
    "Gpu",
    "HostKey",
    "Image",
    "Instance",
    "Interruption",
    "JobReport",
    "JobSpec",
    "JobUsage",
    "LegOrder",
    "Limits",
    "Manifest",
    "Market",
    "Measured",
    "NoticeCheck",
    "Offer",
    "PhaseTime",
    "Plan",
    "Receipt",
    "Requirements",
    "RunId",
    "RunStatus",
    "Segment",
    "SegmentCost",
    "Shipped",
    "SpotPolicy",
    "SshOptions",
    "TransferProgress",
]
