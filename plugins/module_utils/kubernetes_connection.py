# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which Kubernetes API, and as whom: the options of kubernetes.core, and the EKS token for a cluster's name.

The C(kubernetes) package serves for reading kubeconfigs, exec plugins and service accounts, and for connections through
proxies; nothing of its models or its request code is used. Importing it takes longer than most modules work, so that a
connection that needs none of this does without it.
"""

from __future__ import annotations

import base64
import binascii
import os
import socket
import ssl
import sys
import threading
from dataclasses import dataclass, field
from typing import Any, Callable
from urllib.request import getproxies_environment

from ansible.module_utils.basic import env_fallback

from ansible_collections.evergreen.eks.plugins.module_utils.aws import Aws, AwsError, aws_argument_spec, aws_errors
from ansible_collections.evergreen.eks.plugins.module_utils.errors import EvergreenError, InvalidInput, MissingLibrary
from ansible_collections.evergreen.eks.plugins.module_utils.waiting import Clock

# aws-iam-authenticator accepts a token for 15 minutes after it was signed, whatever X-Amz-Expires says; the EKS tools
# take 14 of them, and we renew a minute before that.
TOKEN_SECONDS = 14 * 60
RENEW_BEFORE = 60
PRESIGNED_SECONDS = 60
TOKEN_PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"


def kubernetes_argument_spec(**own: Any) -> dict[str, Any]:
    """C(cluster_name), the connection options of kubernetes.core and of amazon.aws, and the module's own."""
    return aws_argument_spec(
        cluster_name={"type": "str"},
        kubeconfig={"type": "raw", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
        context={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
        host={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_HOST"])},
        api_key={"type": "str", "no_log": True, "fallback": (env_fallback, ["K8S_AUTH_API_KEY"])},
        username={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_USERNAME"])},
        password={"type": "str", "no_log": True, "fallback": (env_fallback, ["K8S_AUTH_PASSWORD"])},
        verify_ssl={
            "type": "bool",
            "fallback": (env_fallback, ["K8S_AUTH_VALIDATE_CERTS", "K8S_AUTH_VERIFY_SSL"]),
        },
        ca_cert={
            "type": "path",
            "aliases": ["ssl_ca_cert"],
            "fallback": (env_fallback, ["K8S_AUTH_CA_CERT", "K8S_AUTH_SSL_CA_CERT"]),
        },
        client_cert={
            "type": "path",
            "aliases": ["cert_file"],
            "fallback": (env_fallback, ["K8S_AUTH_CLIENT_CERT", "K8S_AUTH_CERT_FILE"]),
        },
        client_key={
            "type": "path",
            "aliases": ["key_file"],
            "no_log": False,
            "fallback": (env_fallback, ["K8S_AUTH_CLIENT_KEY", "K8S_AUTH_KEY_FILE"]),
        },
        proxy={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_PROXY"])},
        no_proxy={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_NO_PROXY"])},
        proxy_headers={
            "type": "dict",
            "options": {
                "proxy_basic_auth": {
                    "type": "str",
                    "no_log": True,
                    "fallback": (env_fallback, ["K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH"]),
                },
                "basic_auth": {
                    "type": "str",
                    "no_log": True,
                    "fallback": (env_fallback, ["K8S_AUTH_PROXY_HEADERS_BASIC_AUTH"]),
                },
                "user_agent": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_PROXY_HEADERS_USER_AGENT"])},
            },
        },
        persist_config={"type": "bool", "fallback": (env_fallback, ["K8S_AUTH_PERSIST_CONFIG"])},
        impersonate_user={"type": "str", "fallback": (env_fallback, ["K8S_AUTH_IMPERSONATE_USER"])},
        impersonate_groups={
            "type": "list",
            "elements": "str",
            "fallback": (env_fallback, ["K8S_AUTH_IMPERSONATE_GROUPS"]),
        },
        **own,
    )


class Connection:
    """The address, the connection pool and the headers of every request; and the token, where we make it ourselves."""

    def __init__(self, host: str, pool: Any, headers: Callable[[], Any], token: EksToken | None) -> None:
        self.host = host.rstrip("/")
        self.pool = pool
        self.headers = headers
        self._token = token

    def renew(self) -> bool:
        """Have the next request carry a new token; False where there is none that we could make."""
        if self._token:
            self._token.forget()
        return self._token is not None

    def check_credentials(self) -> None:
        """Raise AwsError where AWS itself does not accept the credentials that our tokens are made of."""
        if self._token:
            self._token.check_credentials()


class EksToken:
    """The bearer token of an EKS cluster: a presigned sts:GetCallerIdentity that names the cluster in a header.

    The form is that of aws-iam-authenticator (its README, "How does it work"). Minted here, so that neither an
    C(aws) executable nor a kubeconfig is needed, and renewed before it ends: a drain outlives a token.
    """

    def __init__(self, aws: Aws, cluster_name: str, clock: Clock) -> None:
        self._aws, self._cluster_name, self._clock = aws, cluster_name, clock
        self._lock = threading.Lock()
        self._client: Any = None
        self._token = ""
        self._renew_at = 0.0

    def value(self) -> str:
        """The token, renewed when less than a minute of it is left."""
        with self._lock:
            if not self._token or self._clock.now() >= self._renew_at:
                self._token = self._mint()
                self._renew_at = self._clock.now() + TOKEN_SECONDS - RENEW_BEFORE
            return self._token

    def forget(self) -> None:
        """The server did not accept it: make a new one next time."""
        with self._lock:
            self._token = ""

    def check_credentials(self) -> None:
        """Ask AWS whether it still accepts the credentials: a cluster says of expired ones only that it does not.

        Raises AwsError, reason credentials_expired or credentials_invalid. That STS cannot be asked proves nothing.
        """
        try:
            with aws_errors("sts:GetCallerIdentity", f"the token of EKS cluster {self._cluster_name}"):
                self._aws.client_once("sts").get_caller_identity()
        except AwsError as error:
            if error.reason in ("credentials_expired", "credentials_invalid"):
                raise

    def _mint(self) -> str:
        with aws_errors("sts:GetCallerIdentity", f"the token of EKS cluster {self._cluster_name}"):
            if self._client is None:
                self._client = self._aws.new_client("sts")
                self._client.meta.events.register("before-sign.sts.GetCallerIdentity", self._name_cluster)
            url = self._client.generate_presigned_url("get_caller_identity", ExpiresIn=PRESIGNED_SECONDS)
        return TOKEN_PREFIX + base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")

    def _name_cluster(self, request: Any, **_rest: Any) -> None:
        request.headers[CLUSTER_HEADER] = self._cluster_name


def connect(params: dict[str, Any], aws: Aws, clock: Clock, pool_size: int) -> Connection:
    """The connection that the options name.

    An option beats its K8S_AUTH_* variable (the argument spec sees to that), both beat what is found otherwise: the
    EKS cluster of that name and a minted token, or without a name the service account of the pod we run in, or the
    default kubeconfig. With C(cluster_name) the default kubeconfig and its current context never matter.
    """
    given = {name: None if value == "" else value for name, value in params.items()}
    configuration = Direct() if _is_direct(given) else _package().client.Configuration()
    token: EksToken | None = None
    authority: ssl.SSLContext | None = None
    has_credentials = bool(given.get("api_key") or given.get("username") or given.get("client_cert"))
    if given.get("kubeconfig") or given.get("context"):
        _load_kubeconfig(_package().config, configuration, given)
    elif given.get("cluster_name") and not (given.get("host") and has_credentials):
        cluster = describe_cluster(aws, given["cluster_name"])
        configuration.host = cluster["endpoint"]
        authority = _authority(given["cluster_name"], cluster["certificateAuthority"]["data"])
        if not has_credentials:
            token = EksToken(aws, given["cluster_name"], clock)
    elif not given.get("host"):
        _load_surroundings(_package().config, configuration, given)
    _apply_options(configuration, given)
    if given.get("ca_cert") or configuration.verify_ssl is False:
        authority = None

    configuration.connection_pool_maxsize = pool_size
    pool = configuration.pool() if isinstance(configuration, Direct) else _packages_pool(configuration)
    pool.connection_pool_kw["socket_options"] = _keep_alive()
    if authority:
        pool.connection_pool_kw["ssl_context"] = authority
    return Connection(
        host=configuration.host,
        pool=pool,
        headers=_Headers(configuration, token, given),
        token=token,
    )


@dataclass
class Direct:
    """A connection that needs nothing but urllib3; the attributes are those of the package's Configuration."""

    host: str = ""
    verify_ssl: bool = True
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    connection_pool_maxsize: int = 1
    api_key: dict[str, str] = field(default_factory=dict)
    api_key_prefix: dict[str, str] = field(default_factory=dict)
    refresh_api_key_hook: Any = None

    def auth_settings(self) -> dict[str, dict[str, str]]:
        value = self.api_key.get("authorization", "")
        return {"BearerToken": {"in": "header", "key": "authorization", "value": value}}

    def pool(self) -> Any:
        """The connections, which verify the server unless told not to."""
        from urllib3 import PoolManager

        return PoolManager(
            maxsize=self.connection_pool_maxsize,
            cert_reqs=ssl.CERT_REQUIRED if self.verify_ssl else ssl.CERT_NONE,
            ca_certs=self.ssl_ca_cert,
            cert_file=self.cert_file,
            key_file=self.key_file,
        )


def _is_direct(given: dict[str, Any]) -> bool:
    """Whether the options name the server or the cluster, and no proxy is in the way."""
    found_elsewhere = given.get("kubeconfig") or given.get("context")
    named = given.get("host") or given.get("cluster_name")
    proxies = getproxies_environment()
    proxied = given.get("proxy") or any(kind in proxies for kind in ("http", "https", "all"))
    return bool(named and not found_elsewhere and not proxied)


def _package() -> Any:
    try:
        import kubernetes
    except ImportError as error:
        raise MissingLibrary("kubernetes", sys.executable) from error
    return kubernetes


def _packages_pool(configuration: Any) -> Any:
    from kubernetes.client.rest import RESTClientObject

    return RESTClientObject(configuration).pool_manager


def describe_cluster(aws: Aws, name: str) -> dict[str, Any]:
    """The cluster as eks:DescribeCluster knows it, when it has an endpoint. Raises AwsError, EvergreenError."""
    with aws_errors("eks:DescribeCluster", f"the EKS cluster {name} in {aws.region}"):
        cluster = aws.client("eks").describe_cluster(name=name)["cluster"]
    if not cluster.get("endpoint"):
        raise EvergreenError(
            f"The EKS cluster {name} has no endpoint: its status is {cluster.get('status', 'unknown')}",
            reason="kubernetes_unreachable",
            remedy="Wait until the cluster is ACTIVE",
        )
    return cluster


class _Headers:
    """Builds the headers of a request; credentials are renewed here when they are due."""

    def __init__(self, configuration: Any, token: EksToken | None, given: dict[str, Any]) -> None:
        self._configuration, self._token, self._given = configuration, token, given
        # The package's own renewal (exec plugins, service account files) is not safe for threads.
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        from urllib3.util import make_headers

        try:
            from urllib3 import HTTPHeaderDict
        except ImportError:  # urllib3 before 2.0
            from urllib3._collections import HTTPHeaderDict

        headers = HTTPHeaderDict({"User-Agent": "evergreen.eks"})
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.value()}"
        elif self._given.get("username") and not self._given.get("api_key"):
            basic = f"{self._given['username']}:{self._given.get('password') or ''}"
            headers.update(make_headers(basic_auth=basic))
        else:
            with self._lock:
                for setting in self._configuration.auth_settings().values():
                    if setting["in"] == "header" and setting["value"]:
                        headers[setting["key"]] = setting["value"]
        if self._given.get("impersonate_user"):
            headers["Impersonate-User"] = self._given["impersonate_user"]
        for group in self._given.get("impersonate_groups") or []:
            headers.add("Impersonate-Group", group)
        return headers


def _load_kubeconfig(config: Any, configuration: Any, given: dict[str, Any]) -> None:
    kubeconfig, context = given.get("kubeconfig"), given.get("context")
    persist = bool(given.get("persist_config"))
    try:
        if isinstance(kubeconfig, dict):
            config.load_kube_config_from_dict(
                kubeconfig, context=context, client_configuration=configuration, persist_config=persist
            )
        else:
            path = os.path.expanduser(kubeconfig) if kubeconfig else None
            config.load_kube_config(path, context=context, client_configuration=configuration, persist_config=persist)
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        named = "given as a dictionary" if isinstance(kubeconfig, dict) else kubeconfig or "of this account"
        raise InvalidInput(
            f"The kubeconfig {named} cannot be used{f' with context {context}' if context else ''}: {error}",
            remedy="Correct kubeconfig and context, or set cluster_name to connect with AWS credentials alone",
        ) from error


def _load_surroundings(config: Any, configuration: Any, given: dict[str, Any]) -> None:
    """The service account of the pod we run in, else the default kubeconfig."""
    try:
        config.load_incluster_config(client_configuration=configuration)
        return
    except config.ConfigException:
        pass
    try:
        config.load_kube_config(client_configuration=configuration, persist_config=bool(given.get("persist_config")))
    except (config.ConfigException, OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidInput(
            f"No Kubernetes API is named, and the default kubeconfig cannot be used: {error}",
            remedy="Set cluster_name (an EKS cluster, reached with AWS credentials alone), host or kubeconfig",
        ) from error


def _apply_options(configuration: Any, given: dict[str, Any]) -> None:
    """What the options name beats what was found."""
    for option, attribute in {
        "host": "host",
        "ca_cert": "ssl_ca_cert",
        "client_cert": "cert_file",
        "client_key": "key_file",
        "verify_ssl": "verify_ssl",
        "proxy": "proxy",
        "no_proxy": "no_proxy",
    }.items():
        if given.get(option) is not None:
            setattr(configuration, attribute, given[option])
    if given.get("api_key"):
        # The name of the key changed with release 36 of the package; unknown names are ignored by either.
        configuration.refresh_api_key_hook = None
        for name in ("authorization", "BearerToken"):
            configuration.api_key[name] = f"Bearer {given['api_key']}"
            configuration.api_key_prefix.pop(name, None)
    headers = {name: value for name, value in (given.get("proxy_headers") or {}).items() if value}
    if headers:
        from urllib3.util import make_headers

        configuration.proxy_headers = make_headers(**headers)


def _authority(cluster_name: str, data: str) -> ssl.SSLContext:
    """A TLS context that trusts the cluster's own certificate authority and nothing else."""
    from urllib3.util.ssl_ import create_urllib3_context

    # Urllib3's own kind of context: whether it or the context compares host names depends on its release.
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    try:
        context.load_verify_locations(cadata=base64.b64decode(data).decode())
    except (binascii.Error, ssl.SSLError, ValueError) as error:
        raise EvergreenError(
            f"The certificate authority that EKS names for cluster {cluster_name} cannot be read: {error}"
        ) from error
    # Python 3.13 asks for extensions (Authority Key Identifier) that the certificates of EKS do not have.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    return context


def _keep_alive() -> list[tuple[int, int, int]]:
    """Socket options against load balancers in the path that drop idle connections (an NLB after 350 s)."""
    options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)]
    for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):
            options.append((socket.IPPROTO_TCP, getattr(socket, name), value))
    return options
