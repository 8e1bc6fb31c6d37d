# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    # The connection options of amazon.aws: plugins/module_utils/aws.py, aws_argument_spec
    DOCUMENTATION = r"""
options:
  access_key:
    description:
      - AWS access key ID.
      - Without it the E(AWS_ACCESS_KEY_ID) or E(AWS_ACCESS_KEY) environment variables are used.
      - Cannot be combined with O(profile). An empty string means that it is not set, here and for every option below.
    type: str
    aliases: [aws_access_key_id, aws_access_key]
  secret_key:
    description:
      - AWS secret access key.
      - Without it the E(AWS_SECRET_ACCESS_KEY) or E(AWS_SECRET_KEY) environment variables are used.
    type: str
    aliases: [aws_secret_access_key, aws_secret_key]
  session_token:
    description:
      - Session token of temporary AWS credentials.
      - Without it the E(AWS_SESSION_TOKEN) environment variable is used.
    type: str
    aliases: [aws_session_token]
  profile:
    description:
      - Name of a profile in the configuration files of the AWS SDK.
      - Without it the E(AWS_PROFILE) or E(AWS_DEFAULT_PROFILE) environment variables are used.
    type: str
    aliases: [aws_profile]
  region:
    description:
      - The AWS region.
      - Without it the E(AWS_REGION) or E(AWS_DEFAULT_REGION) environment variables are used, then the region of the
        profile.
    type: str
    aliases: [aws_region]
  endpoint_url:
    description:
      - URL to use instead of the endpoints of all AWS services.
      - Without it the E(AWS_URL) environment variable is used. The SDK's own E(AWS_ENDPOINT_URL) and its variants
        for single services stay in force.
    type: str
    aliases: [aws_endpoint_url]
  validate_certs:
    description:
      - Whether the TLS certificates of the AWS endpoints are verified.
      - It says nothing about the Kubernetes API.
    type: bool
    default: true
  aws_ca_bundle:
    description:
      - File with the certificate authorities by which the AWS endpoints are verified.
      - Without it the E(AWS_CA_BUNDLE) environment variable is used. Not used when O(validate_certs=false).
    type: path
  aws_config:
    description:
      - Settings for C(botocore.config.Config), as a dictionary.
      - The module decides about retries itself.
    type: dict
requirements:
  - boto3 >= 1.28.0
"""
