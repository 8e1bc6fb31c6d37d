# Copyright: Contributors to the evergreen.eks project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command that goes on with a run: as it was typed, without what must not be printed."""

from __future__ import annotations

import pytest

from ansible_collections.evergreen.eks.plugins.plugin_utils.command_line import printable_command


def test_a_command_without_secrets_stays_as_it_was_typed() -> None:
    typed = ["/venv/bin/ansible-playbook", "evergreen.eks.rollout", "-e", "eks_cluster_name=production", "--forks", "8"]

    assert printable_command(typed) == (
        "ansible-playbook evergreen.eks.rollout -e eks_cluster_name=production --forks 8"
    )


def test_words_that_a_shell_would_read_differently_are_quoted() -> None:
    typed = ["ansible-playbook", "my playbook.yml", "-e", '{"eks_node_groups": ["istio"]}']

    assert printable_command(typed) == """ansible-playbook 'my playbook.yml' -e '{"eks_node_groups": ["istio"]}'"""


@pytest.mark.parametrize(
    ("typed", "printed"),
    [
        (["-e", "db_password=hunter2"], ""),
        (["-ehunter_token=hunter2"], ""),
        (["--extra-vars", "a=1 vault_pass=hunter2 b='x y'"], """ --extra-vars 'a=1 b='"'"'x y'"'"''"""),
        (["--extra-vars=secret_key=hunter2 a=1"], " --extra-vars a=1"),
        (["-e", '{"eks_aws": {"access_key": "hunter2", "profile": "p"}}'], """ -e '{"eks_aws": {"profile": "p"}}'"""),
        (["-e", '{"list": [{"api_key": "hunter2", "n": 1}]}'], """ -e '{"list": [{"n": 1}]}'"""),
        (["-e", '{"eks_aws": "{\\"session_token\\": \\"hunter2\\"}"}'], """ -e '{"eks_aws": "{}"}'"""),
        (["-e", "secret: hunter2 {broken"], ""),
        (["-e", '{"secret_key": "hunter2"'], ""),
        (["-e", "@secrets.yml"], " -e @secrets.yml"),
        (["-ve", "db_password=hunter2"], " -v"),
        (["-Ce", "secret_key=hunter2 a=1"], " -C -e a=1"),
        (["-vCe", "db_password=hunter2"], " -vC"),
        (["-vedb_password=hunter2"], " -v"),
        (["-e=db_password=hunter2"], ""),
        (["--extra-v", "db_password=hunter2"], ""),
        (["--e=db_password=hunter2 a=1"], " --extra-vars a=1"),
        (["-tdeploy", "-lweb", "-ihere"], " -tdeploy -lweb -ihere"),
        (
            ["-e", 'eks_kubernetes={"kubeconfig":{"users":[{"user":{"client-key-data":"hunter2"}}]}}'],
            """ -e 'eks_kubernetes='"'"'{"kubeconfig": {"users": [{"user": {}}]}}'"'"''""",
        ),
        (
            ["-e", '{"eks_kubernetes": {"client_key": "hunter2", "private-key": "hunter2"}}'],
            """ -e '{"eks_kubernetes": {}}'""",
        ),
        (["-e", "a=Bearer:eyJhbGciOiJSUzI1NiJ9.hunter2.sig"], " -e 'a=Bearer:********'"),
        (["-e", "eks_kubernetes_proxy=http://ann:hunter2@proxy:3128"], " -e eks_kubernetes_proxy=http://proxy:3128"),
    ],
)
def test_secrets_are_left_out_in_every_form_of_extra_variables(typed: list[str], printed: str) -> None:
    command = printable_command(["ansible-playbook", "evergreen.eks.rollout", *typed])

    assert command == f"ansible-playbook evergreen.eks.rollout{printed}"
    assert "hunter2" not in command


def test_the_program_keeps_its_name_when_python_was_asked_to_run_it() -> None:
    assert printable_command(["/lib/ansible/cli/playbook.py", "site.yml"]) == "ansible-playbook site.yml"
