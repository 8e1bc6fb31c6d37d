# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""EKS clusters and their updates; the caller's identity; a bucket for state."""

from __future__ import annotations

import base64
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError


def test_a_cluster_is_described_with_the_endpoint_and_ca_of_the_world(aws: Any) -> None:
    aws.cloud.create_cluster("demo", "1.34", network=aws.network)
    aws.cloud.set_cluster_endpoint("demo", "https://127.0.0.1:6443", "-----BEGIN CERTIFICATE-----")
    cluster = aws.client("eks").describe_cluster(name="demo")["cluster"]
    assert (cluster["endpoint"], cluster["version"], cluster["status"]) == ("https://127.0.0.1:6443", "1.34", "ACTIVE")
    assert base64.b64decode(cluster["certificateAuthority"]["data"]) == b"-----BEGIN CERTIFICATE-----"
    assert aws.client("eks").list_clusters()["clusters"] == ["demo"]


def test_an_unknown_cluster_is_not_found(aws: Any) -> None:
    with pytest.raises(ClientError, match="No cluster found for name: nobody.") as caught:
        aws.client("eks").describe_cluster(name="nobody")
    assert caught.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_a_control_plane_goes_up_by_one_minor_version_and_takes_its_time(aws: Any) -> None:
    aws.cloud.create_cluster("demo", "1.34")
    eks = aws.client("eks")
    with pytest.raises(ClientError, match="Unsupported Kubernetes minor version update from 1.34 to 1.36"):
        eks.update_cluster_version(name="demo", version="1.36")
    update = eks.update_cluster_version(name="demo", version="1.35")["update"]
    assert update["status"] == "InProgress"
    assert eks.describe_cluster(name="demo")["cluster"]["status"] == "UPDATING"
    with pytest.raises(ClientError, match="ResourceInUseException"):
        eks.update_cluster_version(name="demo", version="1.35")
    aws.later(601)
    assert eks.describe_update(name="demo", updateId=update["id"])["update"]["status"] == "Successful"
    assert eks.describe_cluster(name="demo")["cluster"]["version"] == "1.35"
    assert eks.list_updates(name="demo")["updateIds"] == [update["id"]]


def test_the_caller_is_who_the_access_key_says(aws: Any) -> None:
    identity = aws.client("sts").get_caller_identity()
    assert identity["Account"] == "123456789012"
    assert identity["Arn"] == "arn:aws:iam::123456789012:user/evergreen"


def test_a_bucket_keeps_state_with_compare_and_swap(aws: Any) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="state", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    first = s3.put_object(Bucket="state", Key="demo/shared.json", Body=b"{}", IfNoneMatch="*")
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.put_object(Bucket="state", Key="demo/shared.json", Body=b"{}", IfNoneMatch="*")
    s3.put_object(Bucket="state", Key="demo/shared.json", Body=b"[]", IfMatch=first["ETag"])
    assert s3.get_object(Bucket="state", Key="demo/shared.json")["Body"].read() == b"[]"
    assert aws.record.calls(service="s3", operation="PutObject")[0].target == "state/demo/shared.json"


def test_what_is_not_in_a_bucket_is_told_only_to_those_who_may_list_it(aws: Any) -> None:
    s3 = aws.client("s3")
    s3.create_bucket(Bucket="secret", CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.get_object(Bucket="secret", Key="nothing")
    aws.cloud.authorize = lambda _author, action: action == "s3:GetObject"
    with pytest.raises(ClientError, match="AccessDenied.*s3:ListBucket"):
        s3.get_object(Bucket="secret", Key="nothing")


def test_a_bucket_of_another_region_says_where_it_is(aws: Any) -> None:
    elsewhere = boto3.client(
        "s3",
        endpoint_url=aws.cloud.url,
        region_name="eu-west-1",
        aws_access_key_id="AKIAEVERGREENTOOL00",
        aws_secret_access_key="secret",
    )
    elsewhere.create_bucket(Bucket="irish", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    aws.record.clear()
    aws.client("s3").put_object(Bucket="irish", Key="found", Body=b"")  # the SDK goes where it is sent
    assert [(call.operation, call.status) for call in aws.record.calls()][:1] == [("PutObject", 301)]
    assert aws.record.calls()[-1].succeeded
