"""A place for outputs, tried out before anything is launched."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from launcher.agent.post import Altered, Refused, Store, Unreachable
from launcher.aws.durable import grant, place
from launcher.aws.faults import FOREIGN
from launcher.errors import GpurunError, SpecError

if TYPE_CHECKING:
    from launcher.aws.client import Aws
    from launcher.aws.durable.place import Place

PROBE = "gpurun-probe"
"""In the place of a run's id: an object that is written to see whether one can be."""
CROSS_REGION_USD_PER_GB = 0.02
"""From most regions to another (Amazon EC2 On-Demand Pricing, "Data transfer"); some cost more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A place that can be written to and read, and what its user should know."""

    place: Place
    notes: tuple[str, ...] = ()


def check(aws: Aws, uri: str, *, deadline: datetime, regions: Collection[str] = ()) -> Checked:
    """See that a machine can send outputs there, exactly as it will, and that they can be listed.

    `regions` are those that the run's machines may lie in. Raises `SpecError` for a bad address, a bucket that is
    missing and one that cannot be written to, `NotPermitted` where it may not be listed.
    """
    there = place.find(aws, uri)
    here = aws.at(there.region)
    with here.errors(f"list {uri}"):
        here.s3.list_objects_v2(Bucket=there.bucket, Prefix=there.run_prefix(PROBE), MaxKeys=1)
    permitted = grant.mint(aws, there, PROBE, segment=0, deadline=deadline)
    _probe(aws, there, permitted)
    notes = [permitted.warning(deadline)]
    far = sorted(set(regions) - {there.region})
    if far:
        notes.append(
            f"the outputs bucket lies in {there.region} and machines may run in {', '.join(far)}: AWS bills about "
            f"{CROSS_REGION_USD_PER_GB:.2f} USD for each GB sent there"
        )
    return Checked(place=there, notes=tuple(note for note in notes if note))


def _probe(aws: Aws, there: Place, permitted: grant.Grant) -> None:
    content = b"gpurun was here, to see whether it can write\n"
    store = Store(permitted.form)
    try:
        store.put("probe", lambda: iter([content]), len(content), sha256(content).hexdigest())
    except Refused as refusal:
        allow = f"s3:PutObject on arn:aws:s3:::{there.bucket}/{there.prefix}/*".replace("//", "/")
        raise SpecError(
            f"{place.FIELD}: {there.uri} cannot be written to: {refusal}",
            hint=f"allow {allow} in the identity's policy, and see the bucket's own",
        ) from None
    except (Unreachable, Altered) as error:
        raise GpurunError(f"{place.FIELD}: {there.uri} cannot be reached: {error}", hint="try again") from None
    finally:
        store.close()
    key = f"{there.run_prefix(PROBE)}probe"
    with suppress(*FOREIGN):  # not to be allowed to is fine: it is one small object, and always the same
        aws.at(there.region).s3.delete_object(Bucket=there.bucket, Key=key)
