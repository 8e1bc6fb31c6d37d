# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which failures of AWS pass by themselves, and the one place where requests are repeated because of them."""

from __future__ import annotations

import random
from typing import Any

from ansible_collections.evergreen.eks.plugins.module_utils.progress import Heartbeat
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Call, Deadline

# Too many requests, of the whole account and region mostly.
THROTTLED = {
    "EC2ThrottledException",
    "PriorRequestNotComplete",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "SlowDown",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
}
# AWS is at work on this very object.
BUSY = {"ResourceContention", "ResourceInUse", "ScalingActivityInProgress"}
# AWS has a trouble of its own; most often, but not always, with a status of 500 or more.
TROUBLED = {
    "InternalError",
    "InternalFailure",
    "InternalServerError",
    "RequestTimeout",
    "RequestTimeoutException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "Unavailable",
}
# Before the first answer of AWS a wrong address is likelier than an outage.
FIRST_ANSWER_SECONDS = 15


def out_of_order(code: str, status: int) -> bool:
    """Whether this error says that AWS itself is out of order, and nothing about the request."""
    return code in TROUBLED or status >= 500


def passes(code: str, status: int = 0) -> bool:
    """Whether the same request may well succeed a little later, by the service's error code and the HTTP status."""
    return code in THROTTLED or code in BUSY or out_of_order(code, status) or status == 429


def is_no_answer(error: Exception | None) -> bool:
    """Whether the SDK got no answer: refused, reset, timed out. A certificate that is not valid stays invalid."""
    from botocore import exceptions

    lost = isinstance(error, (exceptions.HTTPClientError, exceptions.ConnectionError))
    return lost and not isinstance(error, exceptions.SSLError)


class Repeats:
    """Repeats the requests of one client while they fail for a passing reason, for as long as the call has patience.

    It answers botocore's event `needs-retry`, which comes after each attempt; the SDK then builds and signs the request
    anew, so that renewed credentials are used and the lifeline is asked again. The SDK's own repeats are switched off:
    they pause for real seconds, and give up after a minute.
    """

    def __init__(self, call: Call, poll_seconds: float) -> None:
        self._call = call
        self._poll_seconds = poll_seconds
        self._heartbeat = Heartbeat(call)
        self._answered = False

    def needs_retry(
        self,
        operation: Any,
        attempts: int,
        request_dict: dict[str, Any],
        response: Any = None,
        caught_exception: Exception | None = None,
        **_event: Any,
    ) -> float | None:
        """Seconds after which the SDK is to try again (0: the pause is over), None when it is to take what it has."""
        trouble = self._trouble(response, caught_exception)
        if not trouble:
            return None
        context = request_dict.setdefault("context", {})
        deadline = context.setdefault("evergreen_patience", Deadline(self._call.clock, self._patience()))
        if deadline.expired():
            return None
        name = f"{operation.service_model.endpoint_prefix}:{operation.name}"
        self._heartbeat.trouble(f"{name} answers {trouble}", operation=name)
        self._call.clock.sleep(min(self._pause(attempts), deadline.remaining()))
        return 0

    def _trouble(self, response: Any, error: Exception | None) -> str:
        """The passing reason for which an attempt failed, in a few words; "" where it did not fail, or for good."""
        if response is None:
            return str(error) if is_no_answer(error) else ""
        self._answered = True
        status = response[0].status_code
        code = str(response[1].get("Error", {}).get("Code", "")) if status >= 300 else ""
        return (code or f"HTTP status {status}") if passes(code, status) else ""

    def _patience(self) -> float:
        seconds = self._call.patience(self._poll_seconds)
        known = self._answered or self._call.established
        return seconds if known else min(seconds, FIRST_ANSWER_SECONDS)

    def _pause(self, attempts: int) -> float:
        """Seconds before the next attempt: a second, or a poll where that is shorter, doubling up to three polls."""
        longest = min(min(self._poll_seconds, 1.0) * 2 ** min(attempts - 1, 10), 3 * self._poll_seconds)
        return longest * random.uniform(0.5, 1.0)
