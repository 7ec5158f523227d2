"""Launch templates and their versions, where moto's are kinder, forgetful, or end after the fifteenth.

Source: Amazon EC2 API Reference, CreateLaunchTemplateVersion, ModifyLaunchTemplate, DescribeLaunchTemplateVersions,
DeleteLaunchTemplateVersions and DescribeLaunchTemplates.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from moto.ec2.exceptions import (
    EC2ClientError,
    InvalidLaunchTemplateIdNotFound,
    InvalidLaunchTemplateNameNotFoundWithNameError,
    InvalidLaunchTemplateVersionNotFound,
)
from moto.ec2.models.launch_templates import LaunchTemplateVersion

from launcher.sandbox.cloud.environment import ACCOUNT

Request = dict[str, Any]
_PAGE = 200
_CREATED_BY = f"arn:aws:iam::{ACCOUNT}:root"


def find(backend: Any, named: Request) -> Any:
    """The launch template that a request names by id or name; raises EC2's error where there is none."""
    wanted, name = named.get("LaunchTemplateId"), named.get("LaunchTemplateName")
    if wanted and name:
        words = "The request must not contain both the launch template ID and the launch template name."
        raise EC2ClientError("InvalidParameterCombination", words)
    if wanted:
        if wanted not in backend.launch_templates:
            raise InvalidLaunchTemplateIdNotFound(wanted)
        return backend.launch_templates[wanted]
    if not name:
        raise EC2ClientError("MissingParameter", "Either a launch template ID or a launch template name is needed.")
    if name not in backend.launch_template_name_to_ids:
        raise InvalidLaunchTemplateNameNotFoundWithNameError(name)
    return backend.launch_templates[backend.launch_template_name_to_ids[name]]


def version(template: Any, which: str) -> Any:
    """One of its versions, by number, `$Default` or `$Latest`; raises EC2's error where there is none."""
    numbers = {"$Default": template.default_version_number, "$Latest": template.versions[-1].number}
    wanted = str(numbers.get(which, which))
    for each in template.versions:
        if str(each.number) == wanted:
            return each
    raise InvalidLaunchTemplateVersionNotFound(template_id=template.id, version=which)


def add_version(backend: Any, params: Request) -> Request:
    """CreateLaunchTemplateVersion's answer; a version made of another has what it does not say."""
    template = find(backend, params)
    data = dict(params.get("LaunchTemplateData", {}))
    if params.get("SourceVersion"):
        data = {**copy.deepcopy(version(template, str(params["SourceVersion"])).data), **data}
    template.numbered = max(getattr(template, "numbered", 0), template.versions[-1].number) + 1
    made = LaunchTemplateVersion(template, template.numbered, data, params.get("VersionDescription", ""))
    template.versions.append(made)
    return {"LaunchTemplateVersion": _shown(made)}


def make_default(backend: Any, params: Request) -> Request:
    """ModifyLaunchTemplate's answer."""
    template = find(backend, params)
    template.default_version_number = version(template, str(params.get("DefaultVersion", ""))).number
    return {"LaunchTemplate": _row(template)}


def remove_versions(backend: Any, params: Request) -> Request:
    """DeleteLaunchTemplateVersions' answer; the default version stays."""
    template = find(backend, params)
    gone, kept = [], []
    for number in params.get("Versions", []):
        row = {"LaunchTemplateId": template.id, "LaunchTemplateName": template.name, "VersionNumber": int(number)}
        found = [each for each in template.versions if each.number == int(number)]
        if not found or found[0].number == template.default_version_number:
            code = "unexpectedError" if found else "launchTemplateVersionDoesNotExist"
            kept.append({**row, "ResponseError": {"Code": code, "Message": f"version {number} stays"}})
            continue
        template.numbered = max(getattr(template, "numbered", 0), template.versions[-1].number)
        template.versions.remove(found[0])
        gone.append(row)
    return {"SuccessfullyDeletedLaunchTemplateVersions": gone, "UnsuccessfullyDeletedLaunchTemplateVersions": kept}


def listed_versions(backend: Any, params: Request) -> Request:
    """DescribeLaunchTemplateVersions' answer, of one template, or the latest or default of all."""
    asked = [str(each) for each in params.get("Versions", [])]
    if params.get("LaunchTemplateId") or params.get("LaunchTemplateName"):
        template = find(backend, params)
        lowest, highest = (
            int(params.get("MinVersion") or 1),
            int(params.get("MaxVersion") or template.versions[-1].number),
        )
        found = [version(template, each) for each in asked]
        found = found or [each for each in reversed(template.versions) if lowest <= each.number <= highest]
    elif asked and set(asked) <= {"$Latest", "$Default"}:
        found = [version(each, which) for each in backend.launch_templates.values() for which in asked]
    else:
        raise EC2ClientError("MissingParameter", "Name a launch template, or ask for $Latest or $Default of all.")
    return _page("LaunchTemplateVersions", [_shown(each) for each in found], params)


def listed(backend: Any, params: Request, filters: Any) -> Request:
    """DescribeLaunchTemplates' answer."""
    named = [find(backend, {"LaunchTemplateId": each}) for each in params.get("LaunchTemplateIds", [])]
    named += [find(backend, {"LaunchTemplateName": each}) for each in params.get("LaunchTemplateNames", [])]
    fitting = backend.describe_launch_templates(filters=filters)
    found = [each for each in named or fitting if each in fitting]
    return _page("LaunchTemplates", [_row(each) for each in found], params)


def forget_own_tags(template: Any) -> None:
    """Take out of a new template's data the tags of the template itself, which moto keeps there too."""
    data = template.versions[0].data
    rest = [each for each in data.get("TagSpecifications", []) if each["ResourceType"] != "launch-template"]
    data.pop("TagSpecifications", None)
    if rest:
        data["TagSpecifications"] = rest


def _row(template: Any) -> Request:
    return {
        "CreateTime": template.create_time,
        "CreatedBy": _CREATED_BY,
        "DefaultVersionNumber": template.default_version_number,
        "LatestVersionNumber": template.versions[-1].number,
        "LaunchTemplateId": template.id,
        "LaunchTemplateName": template.name,
        "Tags": template.get_tags(),
    }


def _shown(found: Any) -> Request:
    data = {key: value for key, value in found.data.items() if value is not None}
    if "UserData" in data:
        data["UserData"] = str(data["UserData"])
    return {
        "CreateTime": found.create_time,
        "CreatedBy": _CREATED_BY,
        "DefaultVersion": found.number == found.template.default_version_number,
        "LaunchTemplateData": data,
        "LaunchTemplateId": found.template.id,
        "LaunchTemplateName": found.template.name,
        "VersionDescription": found.description,
        "VersionNumber": found.number,
    }


def _page(key: str, rows: Sequence[Request], params: Request) -> Request:
    size, start = int(params.get("MaxResults") or _PAGE), int(params.get("NextToken") or 0)
    more = {"NextToken": str(start + size)} if start + size < len(rows) else {}
    return {key: rows[start : start + size], **more}
