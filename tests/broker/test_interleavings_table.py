"""Which test shows which of the named interleavings: in the model of the broker, in virtual time, and,
for those that are worth it, with real processes against an imitation of AWS.

The list is the one that the broker was built against. A name without its test fails here.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
DEATHS, PEERS = "broker/test_interleavings_deaths.py", "broker/test_interleavings_peers.py"
FAULTS, HOLD = "broker/test_interleavings_faults.py", "broker/test_long_hold.py"
REAL, WORKER = "end_to_end/test_interleavings.py", "end_to_end/test_worker_killed.py"
KILLS, CHECKPOINTS = "end_to_end/test_kills.py", "broker/test_checkpoints.py"
PAUSES = "end_to_end/test_pauses.py"
HOSTS, HOST = "broker/test_dead_hosts.py", "end_to_end/test_dead_host.py"
AUDIO, REMOVED = "broker/test_new_audio.py", "broker/test_removed_messages.py"
ANYWHERE = "broker/test_dies_anywhere.py"

MOMENTS = (
    "before the first heartbeat",
    "in mid-work",
    "between text and JSON",
    "after staging",
    "after the fence",
    "after publishing",
    "during delete, with the reply lost",
)
# Each name: the tests that show it, and of those with a star (worth real processes) the real ones.
STARRED: dict[str, tuple[str, ...]] = {
    **{
        f"worker killed {moment}": (
            f"{DEATHS}::test_worker_killed",
            f"{WORKER}::test_worker_killed_at_each_moment",
        )
        for moment in MOMENTS
    },
    "broker killed at the same moments": (
        f"{DEATHS}::test_broker_killed",
        f"{REAL}::test_broker_killed_and_its_heir_ends_the_same_attempt",
        f"{KILLS}::test_killed_broker_loses_nothing_and_the_worker_works_on",
    ),
    "supervisor killed at the same moments": (
        f"{DEATHS}::test_supervisor_killed",
        f"{DEATHS}::test_supervisor_and_broker_killed_at_once",
        f"{REAL}::test_supervisor_killed_and_its_successor_finds_the_job",
        f"{KILLS}::test_killed_supervisor_gives_back_and_its_successor_finishes",
    ),
    "broker stopped longer than the visibility, then continued": (
        f"{PEERS}::test_broker_stopped_before_its_fence_writes_nothing",
        f"{REAL}::test_broker_stopped_longer_than_the_visibility_then_continued",
    ),
    "worker stopped longer than the stall limit": (
        f"{DEATHS}::test_worker_stopped_longer_than_the_stall_limit",
        f"{WORKER}::test_worker_killed_at_each_moment",
    ),
    "supervisor paused longer than a worker may be silent": (
        "pool/test_pauses.py::test_three_pauses_of_40_s_kill_nobody_and_charge_nothing",
        f"{PAUSES}::test_three_pauses_alone_or_with_all_restart_no_worker_and_charge_no_recording",
    ),
    "everything paused longer than the visibility, then continued": (
        f"{PEERS}::test_broker_stopped_longer_than_the_visibility_returns_as_a_zombie",
        f"{PAUSES}::test_pause_beyond_the_lease_ends_in_one_transcript",
    ),
    "device dies": (
        f"{DEATHS}::test_device_dies",
        f"{REAL}::test_device_dies_and_another_host_has_the_job_at_once",
    ),
    "disk full while downloading": (
        f"{FAULTS}::test_disk_full_while_downloading",
        f"{FAULTS}::test_disk_full_for_longer_than_the_lease",
        f"{REAL}::test_disk_full_while_downloading",
    ),
}
IN_THE_MODEL: dict[str, tuple[str, ...]] = {
    "host rebooted (boot id changed) with open local leases": (
        f"{DEATHS}::test_host_rebooted_with_open_leases",
    ),
    "killed while a poll is parked, then a message sent": (
        f"{DEATHS}::test_broker_killed_while_its_poll_is_parked_then_a_message_is_sent",
    ),
    "receive reply lost": (f"{DEATHS}::test_reply_of_a_receive_lost",),
    "zombie returning when the peer is done, running or failed": (
        f"{PEERS}::test_broker_stopped_longer_than_the_visibility_returns_as_a_zombie",
        f"{PEERS}::test_broker_stopped_between_its_check_and_a_put_is_the_known_window",
        f"{PEERS}::test_late_renewals_and_endings_of_a_zombie_leave_the_new_owners_record_alone",
    ),
    "duplicate while active": (
        f"{PEERS}::test_duplicate_while_active_on_the_same_host",
        f"{PEERS}::test_duplicate_while_active_on_another_host",
    ),
    "duplicate after done": (f"{PEERS}::test_duplicate_after_done_and_the_dispatcher_resetting_status",),
    "two messages with one id": (
        f"{PEERS}::test_two_messages_with_one_id",
        f"{PEERS}::test_two_recordings_under_one_id_are_done_one_after_the_other",
    ),
    "heartbeat throttled, 500, slow up to and past the deadline": (
        f"{FAULTS}::test_heartbeat_fails_a_few_times",
        f"{FAULTS}::test_heartbeat_fails_past_the_deadline",
        f"{FAULTS}::test_heartbeat_slow_up_to_the_deadline",
        f"{FAULTS}::test_heartbeat_slow_past_the_deadline",
    ),
    "conditional write applied but answered 500": (
        f"{FAULTS}::test_conditional_write_applied_but_answered_500",
    ),
    "upload applied but timed out": (f"{FAULTS}::test_upload_applied_but_timed_out",),
    "REM's dispatcher resetting status on a finished record": (
        f"{PEERS}::test_duplicate_after_done_and_the_dispatcher_resetting_status",
        f"{PEERS}::test_dispatcher_resetting_status_while_we_work_and_while_we_commit",
    ),
    "a message with three jobs of which one fails": (
        f"{PEERS}::test_message_with_three_jobs_of_which_one_fails",
    ),
    "table throttled in claim and in release": (
        f"{FAULTS}::test_table_throttled_in_claim",
        f"{FAULTS}::test_table_throttled_in_claim_for_longer_than_the_lease",
        f"{FAULTS}::test_table_throttled_in_release",
    ),
    "SIGTERM twice": (f"{DEATHS}::test_sigterm_twice",),
    "drain deadline during an upload": (
        f"{DEATHS}::test_drain_deadline_during_an_upload",
        f"{DEATHS}::test_drain_deadline_passed_in_an_upload",
    ),
    "poison between innocents": (
        f"{DEATHS}::test_poison_between_innocents_is_failed_and_they_are_not_charged",
        f"{KILLS}::test_recording_that_kills_every_worker_is_failed_and_innocents_are_not",
    ),
    "twenty releases do not fail a job": (f"{DEATHS}::test_twenty_releases_do_not_fail_a_job",),
    "queue deleted": (
        f"{FAULTS}::test_queue_deleted_and_made_again",
        f"{FAULTS}::test_queue_deleted_in_mid_job_for_good",
    ),
    "DLQ missing": (
        f"{FAULTS}::test_dead_letter_queue_missing",
        f"{FAULTS}::test_dead_letter_queue_not_permitted",
    ),
    "credentials expire in mid-job": (f"{FAULTS}::test_credentials_expire_in_mid_job",),
    "12-hour cap scaled down": (
        f"{HOLD}::test_job_that_takes_longer_is_given_back_in_time_and_begins_anew",
        f"{HOLD}::test_what_never_ends_in_that_time_fails_at_the_third_time",
        f"{CHECKPOINTS}::test_job_longer_than_the_queue_allows_carries_on_and_is_not_charged",
    ),
    "checkpoint written by a fenced zombie": (
        f"{CHECKPOINTS}::test_checkpoint_of_a_fenced_zombie_is_never_used",
    ),
    "host dies for good": (
        f"{HOSTS}::test_dead_hosts_recording_is_with_another_within_65_s_at_the_first_receive",
        f"{HOSTS}::test_second_copy_of_a_dead_hosts_message_does_not_wait_longer",
        f"{ANYWHERE}::test_dying_at_any_call_of_a_job_leaves_exactly_one_transcript",
        f"{HOST}::test_killed_hosts_recording_is_with_another_host_after_one_lease",
    ),
    "other audio under the name of a recording that is over": (
        f"{AUDIO}::test_whole_file_after_an_empty_one_under_the_same_key",
        f"{AUDIO}::test_dying_at_any_call_of_a_new_try_leaves_exactly_one_transcript",
        f"{AUDIO}::test_audio_uploaded_anew_in_mid_work_is_transcribed_too",
    ),
    "same audio under the name of a recording that failed": (
        f"{AUDIO}::test_same_bytes_again_stay_failed_and_status_says_so_again",
    ),
    "message removed in mid-job": (
        f"{REMOVED}::test_job_of_a_removed_message_is_done_all_the_same",
        f"{REMOVED}::test_broker_that_dies_at_any_call_after_a_purge_ends_the_job_once",
    ),
    "passing failure that never passes": (
        "broker/test_endless_returns.py::test_passing_failure_that_never_passes_fails_after_max_receives",
    ),
    "clock stepped by an hour": (f"{PEERS}::test_wall_clock_stepped_by_an_hour_in_mid_job",),
}


@pytest.mark.parametrize("name", [*STARRED, *IN_THE_MODEL])
def test_each_name_has_its_tests(name: str) -> None:
    for shown in {**STARRED, **IN_THE_MODEL}[name]:
        path, _, test = shown.partition("::")
        assert test in _tests_in(path), f"{name!r} names a test that is not there: {shown}"


@pytest.mark.parametrize("name", STARRED)
def test_each_starred_name_has_one_of_real_processes(name: str) -> None:
    assert any(shown.startswith("end_to_end/") for shown in STARRED[name])


@pytest.mark.parametrize("path", [DEATHS, REAL])
def test_all_moments_are_tried(path: str) -> None:
    text = (TESTS / path).read_text(encoding="utf-8")

    assert [moment for moment in MOMENTS if f'"{moment}"' not in text] == []


def _tests_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
