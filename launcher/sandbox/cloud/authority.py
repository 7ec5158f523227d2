"""Who acts under a role is held to the role's policies, call by call; users may do everything."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from html import escape

from launcher.sandbox.cloud import ec2_needs, s3_needs, scheduler_needs
from launcher.sandbox.cloud.environment import ACCOUNT
from launcher.sandbox.cloud.errors import EXPIRED_CREDENTIALS, INVALID_CREDENTIALS, refusal
from launcher.sandbox.cloud.policies import Need, Unjudged
from launcher.sandbox.cloud.sessions import Expired, Invalid, Session
from launcher.sandbox.cloud.wire import Answer, Call, Environ, error_answer
from launcher.sandbox.cloud.world import World

log = logging.getLogger(__name__)

SESSION_KEY = "gpurun.session"
"""Where a WSGI request carries whose it is."""
WORDS_KEY = "gpurun.refused"
"""Where it carries what was refused, for the journal."""
_STATUS = 403
_CODES = {"ec2": "UnauthorizedOperation", "iam": "AccessDenied", "s3": "AccessDenied", "sts": "AccessDenied"}
_CODE_OF_OTHERS = "AccessDeniedException"
_ALWAYS = frozenset({("sts", "GetCallerIdentity")})


def refused(world: World, call: Call, environ: Environ) -> Answer | None:
    """What a call that is not permitted is told; from here on the request carries whose it is."""
    try:
        session = world.sessions.find(call.access_key, call.token)
    except (Invalid, Expired) as error:
        kind = EXPIRED_CREDENTIALS if isinstance(error, Expired) else INVALID_CREDENTIALS
        no = refusal(kind, service=call.service)
        return error_answer(call.service, no.code, no.status, no.message)
    environ[SESSION_KEY] = session
    if session is None or (call.service, call.action) in _ALWAYS:
        return None
    try:
        words = objection(world, environ, _needs(world, call, environ))
    except Unjudged as error:
        words = _told(environ, f"the sandbox does not know which permissions a role needs for {error}")
    return _denial(call, words) if words else None


def objection(world: World, environ: Environ, needs: Iterable[Need]) -> str:
    """Why whoever sent a request may not do what takes these permissions; empty where they may."""
    session: Session | None = environ.get(SESSION_KEY)
    if session is None:
        return ""
    with world.lock:
        for need in needs:
            why = world.account.objection(session.role_arn, need)
            if why:
                return _told(
                    environ,
                    f"User: {session.arn} is not authorized to perform: {need.action} "
                    f"on resource: {need.resource} {why}",
                )
    return ""


def hidden(world: World, call: Call, environ: Environ, answer: Answer) -> Answer:
    """The answer of S3, which does not say that an object is missing to those who may not list its bucket."""
    of_role = environ.get(SESSION_KEY) is not None
    if not of_role or call.service != "s3" or answer.status != 404 or b"NoSuchBucket" in answer.body:
        return answer
    more = [need for each in s3_needs.needs(call, environ) if (need := s3_needs.to_know_of_absence(each))]
    words = objection(world, environ, more)
    return _denial(call, words) if words else answer


def identity(world: World, session: Session) -> Answer:
    """What GetCallerIdentity tells one who acts under a role."""
    with world.lock:
        user_id = escape(f"{world.account.role_id(session.role_arn)}:{session.name}")
    body = (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><GetCallerIdentityResult>'
        f"<Arn>{escape(session.arn)}</Arn><UserId>{user_id}</UserId><Account>{ACCOUNT}</Account>"
        "</GetCallerIdentityResult><ResponseMetadata><RequestId>00000000-0000-0000-0000-000000000000</RequestId>"
        "</ResponseMetadata></GetCallerIdentityResponse>"
    )
    return Answer(status=200, body=body.encode())


def _needs(world: World, call: Call, environ: Environ) -> list[Need]:
    """What the call takes; raises `Unjudged` where that is not known here."""
    if call.service == "s3":
        return s3_needs.needs(call, environ)
    if call.service == "scheduler":
        return scheduler_needs.needs(call)
    if call.service == "ec2":
        with world.lock:
            return ec2_needs.needs(call)
    raise Unjudged(f"{call.service}:{call.action}")


def _told(environ: Environ, words: str) -> str:
    log.warning("denied: %s", words)
    environ[WORDS_KEY] = words
    return words


def _denial(call: Call, words: str) -> Answer:
    text = f"You are not authorized to perform this operation. {words}" if call.service == "ec2" else words
    answer = error_answer(call.service, _CODES.get(call.service, _CODE_OF_OTHERS), _STATUS, text)
    return Answer(status=_STATUS, body=b"") if call.action.startswith("HEAD ") else answer
