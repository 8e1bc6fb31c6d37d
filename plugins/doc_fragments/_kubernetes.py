# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection options of kubernetes.core: plugins/module_utils/kubernetes_connection.py, kubernetes_argument_spec
    DOCUMENTATION = r"""
options:
  cluster_name:
    description:
      - Name of the EKS cluster.
      - The module then asks AWS for the address and the certificate authority of the cluster, and makes and renews
        the token itself. Neither a kubeconfig nor the C(aws) command is needed.
      - With it the default kubeconfig and its current context are never used. An option below, or its environment
        variable, still beats what AWS answers.
    type: str
  kubeconfig:
    description:
      - Path of a kubeconfig (several, separated by colons, are merged), or its content as a dictionary.
      - Without it the E(K8S_AUTH_KUBECONFIG) environment variable is used; without O(cluster_name) and O(host) the
        default kubeconfig.
    type: raw
  context:
    description:
      - The context to use of the kubeconfig.
      - Without it the E(K8S_AUTH_CONTEXT) environment variable is used.
    type: str
  host:
    description:
      - URL of the Kubernetes API.
      - Without it the E(K8S_AUTH_HOST) environment variable is used.
    type: str
  api_key:
    description:
      - Bearer token for the Kubernetes API.
      - Without it the E(K8S_AUTH_API_KEY) environment variable is used.
    type: str
  username:
    description:
      - User for basic authentication, which only proxies in front of a Kubernetes API still know.
      - Without it the E(K8S_AUTH_USERNAME) environment variable is used.
    type: str
  password:
    description:
      - Password for O(username).
      - Without it the E(K8S_AUTH_PASSWORD) environment variable is used.
    type: str
  verify_ssl:
    description:
      - Whether the TLS certificate of the Kubernetes API is verified; it is, unless this is set to V(false).
      - Without it the E(K8S_AUTH_VALIDATE_CERTS) or E(K8S_AUTH_VERIFY_SSL) environment variables are used.
      - It says nothing about the AWS endpoints.
    type: bool
  ca_cert:
    description:
      - File with the certificate authority of the Kubernetes API.
      - Without it the E(K8S_AUTH_CA_CERT) or E(K8S_AUTH_SSL_CA_CERT) environment variables are used.
    type: path
    aliases: [ssl_ca_cert]
  client_cert:
    description:
      - File with a client certificate.
      - Without it the E(K8S_AUTH_CLIENT_CERT) or E(K8S_AUTH_CERT_FILE) environment variables are used.
    type: path
    aliases: [cert_file]
  client_key:
    description:
      - File with the key of O(client_cert).
      - Without it the E(K8S_AUTH_CLIENT_KEY) or E(K8S_AUTH_KEY_FILE) environment variables are used.
    type: path
    aliases: [key_file]
  proxy:
    description:
      - URL of the proxy for the Kubernetes API.
      - Without it the E(K8S_AUTH_PROXY) environment variable is used.
    type: str
  no_proxy:
    description:
      - Hosts, separated by commas, that are reached without O(proxy).
      - Without it the E(K8S_AUTH_NO_PROXY) environment variable is used.
    type: str
  proxy_headers:
    description:
      - Headers for O(proxy).
    type: dict
    suboptions:
      proxy_basic_auth:
        description:
          - C(user:password) for the proxy.
          - Without it the E(K8S_AUTH_PROXY_HEADERS_PROXY_BASIC_AUTH) environment variable is used.
        type: str
      basic_auth:
        description:
          - C(user:password) for basic authentication.
          - Without it the E(K8S_AUTH_PROXY_HEADERS_BASIC_AUTH) environment variable is used.
        type: str
      user_agent:
        description:
          - The user agent that is named to the proxy.
          - Without it the E(K8S_AUTH_PROXY_HEADERS_USER_AGENT) environment variable is used.
        type: str
  persist_config:
    description:
      - Whether a token that was renewed is written back into the kubeconfig.
      - Without it the E(K8S_AUTH_PERSIST_CONFIG) environment variable is used.
    type: bool
  impersonate_user:
    description:
      - User to impersonate.
      - Without it the E(K8S_AUTH_IMPERSONATE_USER) environment variable is used.
    type: str
  impersonate_groups:
    description:
      - Groups to impersonate.
      - Without it the E(K8S_AUTH_IMPERSONATE_GROUPS) environment variable (separated by commas) is used.
    type: list
    elements: str
requirements:
  - kubernetes >= 24.2.0
notes:
  - With O(cluster_name) the identity needs the IAM action C(eks:DescribeCluster), and an access entry in the cluster.
"""
