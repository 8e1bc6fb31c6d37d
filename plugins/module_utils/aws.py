# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sessions and clients of AWS: the options of amazon.aws, bounded retries, errors with a fixed reason."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, cached_property
from typing import Any

from ansible.module_utils.ansible_release import __version__ as ansible_version
from ansible.module_utils.basic import env_fallback

from ansible_collections.evergreen.eks.plugins.module_utils.aws_repeats import (
    BUSY,
    THROTTLED,
    Repeats,
    is_no_answer,
    out_of_order,
)
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, MissingLibrary
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call

READ_PREFIXES = ("Describe", "Get", "List", "Head", "BatchGet", "Search", "Lookup")
CONNECT_TIMEOUT = 10
READ_TIMEOUT = 60

ACCESS_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "UnauthorizedAccess", "Forbidden"}
EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
INVALID_CREDENTIALS = {
    "AuthFailure",
    "IncompleteSignature",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "InvalidToken",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
}


def aws_argument_spec(**own: Any) -> dict[str, Any]:
    """The connection options of amazon.aws with their aliases and environment variables, and the module's own."""
    return {
        "access_key": {
            "type": "str",
            "aliases": ["aws_access_key_id", "aws_access_key"],
            "fallback": (env_fallback, ["AWS_ACCESS_KEY_ID", "AWS_ACCESS_KEY"]),
            "no_log": False,
        },
        "secret_key": {
            "type": "str",
            "aliases": ["aws_secret_access_key", "aws_secret_key"],
            "fallback": (env_fallback, ["AWS_SECRET_ACCESS_KEY", "AWS_SECRET_KEY"]),
            "no_log": True,
        },
        "session_token": {
            "type": "str",
            "aliases": ["aws_session_token"],
            "fallback": (env_fallback, ["AWS_SESSION_TOKEN"]),
            "no_log": True,
        },
        "profile": {
            "type": "str",
            "aliases": ["aws_profile"],
            "fallback": (env_fallback, ["AWS_PROFILE", "AWS_DEFAULT_PROFILE"]),
        },
        "region": {
            "type": "str",
            "aliases": ["aws_region"],
            "fallback": (env_fallback, ["AWS_REGION", "AWS_DEFAULT_REGION"]),
        },
        "endpoint_url": {"type": "str", "aliases": ["aws_endpoint_url"], "fallback": (env_fallback, ["AWS_URL"])},
        "validate_certs": {"type": "bool", "default": True},
        "aws_ca_bundle": {"type": "path", "fallback": (env_fallback, ["AWS_CA_BUNDLE"])},
        "aws_config": {"type": "dict"},
        **own,
    }


class AwsError(EvergreenError):
    """An AWS call that failed; ``code`` is the service's own error code, "" when there was no answer."""

    default_reason = "aws_error"

    def __init__(self, message: str, *, code: str = "", permanent: bool = False, **rest: Any) -> None:
        super().__init__(message, **rest)
        self.code = code
        self._permanent = permanent

    @property
    def transient(self) -> bool:
        """Whether the same call may well succeed a little later."""
        return not self._permanent and (self.reason in ("throttled", "unreachable") or self.code in BUSY)


class Aws:
    """The AWS account and region that the module's options name. Nothing is asked before the first client."""

    def __init__(self, params: dict[str, Any], call: Call) -> None:
        # An empty string means unset: that is how a playbook or a survey switches an option off.
        self._params = {name: None if value == "" else value for name, value in params.items()}
        self._call = call
        self._clients: dict[tuple[str, bool], Any] = {}
        self._lock = threading.Lock()
        if self._params.get("profile") and (self._params.get("access_key") or self._params.get("secret_key")):
            raise InvalidInput(
                "An AWS profile and AWS access keys are both given (as options or in the environment)",
                remedy="Give one of them, and set the other to an empty string to switch it off",
            )

    def client(self, service: str) -> Any:
        """A client whose requests are repeated while they fail for a passing reason: reads and idempotent calls."""
        return self._client(service, repeats=True)

    def client_once(self, service: str) -> Any:
        """A client that sends each call exactly once: for calls that decrement or count."""
        return self._client(service, repeats=False)

    def new_client(self, service: str, repeats: bool = True) -> Any:
        """A client of one's own, for those who register event hooks on it."""
        from botocore.config import Config

        config = Config(
            region_name=self.region,
            user_agent_extra=f"Ansible/{ansible_version} evergreen.eks",
            connect_timeout=CONNECT_TIMEOUT,
            read_timeout=READ_TIMEOUT,
            max_pool_connections=32,
        )
        if self._params.get("aws_config"):
            config = config.merge(Config(**self._params["aws_config"]))
        config = config.merge(Config(retries={"mode": "standard", "total_max_attempts": 1}))
        client = self._session.client(
            service, config=config, endpoint_url=self._params.get("endpoint_url"), verify=self._verify()
        )
        client.meta.events.register("before-send", self._before_send)
        if repeats:
            client.meta.events.register("needs-retry", Repeats(self._call, self.poll_seconds).needs_retry)
        return client

    @property
    def briefly(self) -> Aws:
        """The same connection with little patience, for who looks again by himself, and has others waiting."""
        return Aws(self._params, self._call.briefly)

    @property
    def call(self) -> Call:
        """The module call that this connection serves: its clock, journal and lifeline."""
        return self._call

    @property
    def poll_seconds(self) -> float:
        """The module's option of that name, from which pauses before another attempt are derived."""
        return self._params.get("poll_seconds") or 5.0

    @cached_property
    def region(self) -> str:
        """The region: option, environment, then the profile's own. Raises AwsError (region_missing) without one."""
        region = self._params.get("region") or self._session.region_name
        if not region:
            raise AwsError(
                "No AWS region is named",
                reason="region_missing",
                remedy="Set the option region or the environment variable AWS_REGION",
            )
        return region

    @cached_property
    def account(self) -> str:
        """The account number of the credentials (sts:GetCallerIdentity)."""
        with aws_errors("sts:GetCallerIdentity", "the AWS identity in use"):
            return self.client("sts").get_caller_identity()["Account"]

    def _client(self, service: str, repeats: bool) -> Any:
        with self._lock:
            key = (service, repeats)
            if key not in self._clients:
                with aws_errors(service, "the AWS connection"):
                    self._clients[key] = self.new_client(service, repeats)
            return self._clients[key]

    @cached_property
    def _session(self) -> Any:
        loader = service_models()
        import boto3
        from botocore.session import Session

        botocore_session = Session()
        botocore_session.register_component("data_loader", loader)
        with aws_errors("sts:GetCallerIdentity", "the AWS credentials"):
            return boto3.session.Session(
                botocore_session=botocore_session,
                aws_access_key_id=self._params.get("access_key"),
                aws_secret_access_key=self._params.get("secret_key"),
                aws_session_token=self._params.get("session_token"),
                profile_name=self._params.get("profile"),
                region_name=self._params.get("region"),
            )

    def _verify(self) -> bool | str | None:
        if self._params.get("validate_certs") is False:
            return False
        return self._params.get("aws_ca_bundle")

    def _before_send(self, event_name: str, **_request: Any) -> None:
        service, operation = event_name.split(".")[1:3]
        if is_mutating(operation):
            self._call.before_change(f"{service}:{operation}")


@cache
def service_models() -> Any:
    """What botocore knows of the services: read once a process, and found there by its forks. Raises MissingLibrary."""
    try:
        import boto3  # noqa: F401
        from botocore.loaders import create_loader
    except ImportError as error:
        raise MissingLibrary("boto3", sys.executable) from error
    return create_loader()


def load_service_models(*services: str) -> None:
    """Read what clients of these services need, before anybody has credentials. Raises MissingLibrary."""
    loader = service_models()
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    for service in services:
        for kind in ("service-2", "endpoint-rule-set-1"):
            loader.load_service_model(service, kind)


def is_mutating(operation: str) -> bool:
    """Whether an AWS operation may change something: everything that does not read by its name."""
    return not operation.startswith(READ_PREFIXES)


@contextmanager
def aws_errors(action: str, subject: str) -> Iterator[None]:
    """Turn what boto3 raises inside into an AwsError with a fixed reason.

    ``action`` is the IAM action ("autoscaling:SetDesiredCapacity"), ``subject`` the object ("Auto Scaling group
    shared"). Reasons: access_denied, credentials_missing, credentials_invalid, credentials_expired, unreachable,
    throttled, not_found, region_missing, aws_error.
    """
    try:
        from botocore.exceptions import BotoCoreError, ClientError
    except ImportError as error:
        raise MissingLibrary("boto3", sys.executable) from error
    try:
        yield
    except ClientError as error:
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        raise _service_error(error.response.get("Error", {}), status, action, subject) from error
    except BotoCoreError as error:
        raise _local_error(error, action, subject) from error


def _service_error(answer: dict[str, Any], status: int, action: str, subject: str) -> AwsError:
    """What the service answered (``Code``, ``Message``, HTTP status) as an error with reason and remedy."""
    code, text = str(answer.get("Code", "")), str(answer.get("Message", "")).strip()
    what = f"{action} for {subject}"
    if code in ACCESS_DENIED:
        return AwsError(
            f"AWS denies {what}: {text}",
            reason="access_denied",
            code=code,
            remedy=f"Allow the action {action} in the IAM policy of the identity in use",
        )
    if code in EXPIRED:
        return AwsError(
            f"The AWS credentials have expired ({code} on {what})",
            reason="credentials_expired",
            code=code,
            remedy="Renew the credentials and run again: it goes on from here",
        )
    if code in INVALID_CREDENTIALS:
        return AwsError(
            f"AWS does not accept the credentials ({code} on {what}): {text}",
            reason="credentials_invalid",
            code=code,
            remedy="Check the access keys or the profile, and the clock of this machine",
        )
    if code in THROTTLED:
        return AwsError(
            f"AWS throttles {what} ({code}): {text}",
            reason="throttled",
            code=code,
            remedy="Run again a little later: it goes on from here",
        )
    if out_of_order(code, status):
        return AwsError(
            f"AWS is out of order for {what} ({code or f'HTTP status {status}'}): {text or 'no message'}",
            reason="unreachable",
            code=code,
            remedy="Run again a little later: it goes on from here",
        )
    if code in ("ResourceNotFoundException", "404") or "NotFound" in code or code.startswith("NoSuch"):
        return AwsError(f"AWS does not know {subject} ({code} on {action}): {text}", reason="not_found", code=code)
    return AwsError(f"{what} failed: {text or 'no message'} ({code or 'no code'})", code=code)


def _local_error(error: Exception, action: str, subject: str) -> AwsError:
    """What botocore raised without an answer of the service."""
    from botocore import exceptions

    if isinstance(error, exceptions.NoRegionError):
        return AwsError(
            "No AWS region is named",
            reason="region_missing",
            remedy="Set the option region or the environment variable AWS_REGION",
        )
    if "SSO" in type(error).__name__ or "TokenRetrieval" in type(error).__name__:
        return AwsError(
            f"The AWS single sign-on session cannot be used: {error}",
            reason="credentials_expired",
            remedy="Log in again (aws sso login) and run again",
        )
    if isinstance(
        error,
        (
            exceptions.NoCredentialsError,
            exceptions.PartialCredentialsError,
            exceptions.CredentialRetrievalError,
            exceptions.ProfileNotFound,
            exceptions.InvalidConfigError,
        ),
    ):
        return AwsError(
            f"No usable AWS credentials for {subject}: {error}",
            reason="credentials_missing",
            remedy="Set access_key and secret_key, profile, or the environment variables of the AWS SDK",
        )
    if isinstance(error, exceptions.SSLError):
        return AwsError(
            f"AWS shows no valid certificate for {action} on {subject}: {error}",
            reason="unreachable",
            permanent=True,
            remedy="Name the certificate authority in aws_ca_bundle, then run again: it goes on from here",
        )
    if is_no_answer(error):
        return AwsError(
            f"AWS cannot be reached for {action} on {subject}: {error}",
            reason="unreachable",
            remedy="Check network, proxy, region and endpoint_url, then run again: it goes on from here",
        )
    return AwsError(f"{action} for {subject} failed: {error}")
