"""Which tests prove each row of the fault matrix F1-F50: a fault, what the client sees, what is asked upstream, what the log
and the metrics say.
"""

import re
import subprocess
import sys
from typing import Final, NamedTuple

from process import ROOT


class Row(NamedTuple):
    """tests: `file::test` under tests/, without `test_` and `.py` of the file; note: what is not made here, and why."""

    fault: str
    tests: tuple[str, ...]
    note: str = ""


ROWS: Final = {
    "F1": Row("the name does not exist", ("fault_matrix::test_no_connection", "faults::test_nobody_listens")),
    "F2": Row(
        "the name server hangs",
        (
            "machine::test_nobody_says_where_an_upstream_is_and_nobody_answers_there",
            "fault_matrix::test_a_hanging_resolver_counts_as_connecting",
            "resolver::test_an_old_address_is_used_while_the_name_server_hangs",
        ),
    ),
    "F3": Row(
        "connection refused", ("fault_matrix::test_no_connection", "fault_matrix::test_refused_falls_back")
    ),
    "F4": Row(
        "connections swallowed",
        ("machine::test_nobody_says_where_an_upstream_is_and_nobody_answers_there", "fault_matrix::test_no_connection"),
    ),
    "F5": Row(
        "TLS that is none, or not to be trusted",
        ("fault_matrix::test_tls_is_verified", "fault_matrix::test_a_plain_port_is_sent_no_request"),
    ),
    "F6": Row(
        "closed before the status line",
        ("fault_matrix::test_closed_before_the_status_line", "fault_matrix::test_a_stale_connection_is_replaced"),
    ),
    "F7": Row(
        "reset before the status line",
        ("fault_matrix::test_closed_before_the_status_line", "fault_matrix::test_a_stale_connection_is_replaced"),
    ),
    "F8": Row("garbage for HTTP", ("fault_matrix::test_garbage_for_http",)),
    "F9": Row("a head, then silence", ("fault_matrix::test_silence", "fault_matrix::test_silence_falls_back")),
    "F10": Row("one event, then silence", ("fault_matrix::test_one_event_then_silence",)),
    "F11": Row("chunks cut off", ("fault_matrix::test_cut_in_mid_stream",)),
    "F12": Row(
        "a reset in mid-stream",
        ("fault_matrix::test_cut_in_mid_stream", "fault_matrix::test_what_had_arrived_before_a_reset_is_delivered"),
    ),
    "F13": Row("a cut that looks like an end", ("fault_matrix::test_cut_in_mid_stream",)),
    "F14": Row("a finish without [DONE]", ("fault_matrix::test_a_finish_without_done_is_an_end",)),
    "F15": Row(
        "[DONE], and the connection stays", ("fault_matrix::test_done_ends_the_stream_though_the_upstream_stays",)
    ),
    "F16": Row("a body shorter than its length", ("fault_matrix::test_answers_that_are_none",)),
    "F17": Row("a body that is not JSON", ("fault_matrix::test_answers_that_are_none",)),
    "F18": Row(
        "bad events among good", ("fault_matrix::test_a_bad_event_ends_the_stream",)
    ),
    "F19": Row("web pages, 204, redirects, 999", ("fault_matrix::test_answers_that_are_none",)),
    "F20": Row(
        "a line without an end", ("fault_matrix::test_a_line_without_an_end",), "16 MiB of it: the limit is one of 64 KiB"
    ),
    "F21": Row("bad UTF-8, NUL, half an emoji", ("fault_matrix::test_bad_utf8_nul_and_half_an_emoji",)),
    "F22": Row(
        "line ends and cuts of every kind",
        ("sse::test_where_a_stream_is_cut_carries_no_meaning", "faults::test_characters_cut_in_two"),
    ),
    "F23": Row(
        "comments for ever", ("fault_matrix::test_comments_for_ever_end_with_the_total_time",), "sixty of them, not a million"
    ),
    "F24": Row("a gzip bomb", ("fault_matrix::test_a_gzip_bomb",)),
    "F25": Row("400", ("fault_matrix::test_a_bad_request_keeps_its_words_without_secrets",)),
    "F26": Row(
        "401, 403",
        ("fault_matrix::test_our_key_is_refused", "fault_matrix::test_a_refused_key_is_benched_and_the_other_answers"),
    ),
    "F27": Row("404", ("fault_matrix::test_no_such_model_there",)),
    "F28": Row(
        "429",
        (
            "fault_matrix::test_throttled",
            "fault_matrix::test_throttled_keys_take_turns",
            "fault_matrix::test_a_short_retry_after_is_waited_for",
        ),
    ),
    "F29": Row("500, 502, 503, 504, 529", ("fault_matrix::test_upstream_errors",)),
    "F30": Row(
        "an error inside a 200",
        (
            "fault_matrix::test_an_error_event_before_the_first_word_falls_back",
            "fault_matrix::test_an_error_event_after_the_first_word_ends_the_stream",
        ),
    ),
    "F31": Row(
        "a target that rests",
        ("fault_matrix::test_a_target_that_keeps_failing_rests_and_is_tried_again",),
        "asserted below 50 ms, for busy machines; it takes less than 1",
    ),
    "F32": Row(
        "the client leaves, at any stage",
        ("life::test_leaving_at_each_stage_leaves_nothing", "disconnect::test_the_client_leaves"),
    ),
    "F33": Row("the client closes its sending half", ("fault_matrix::test_half_closed_is_gone",)),
    "F34": Row("the client never reads", ("fault_matrix::test_a_client_that_never_reads",)),
    "F35": Row("the body comes slowly", ("fault_matrix::test_a_slow_body", "slow::test_the_slow_do_not_slow_the_others")),
    "F36": Row(
        "idle connections",
        ("life::test_connections_have_a_bound", "slow::test_the_slow_do_not_slow_the_others"),
        "with a bound of ten, and with 270 connections; 2,000 would be the test's own limit of files",
    ),
    "F37": Row("bodies that are wrong", ("ingress::test_bodies_that_are_not_json", "ingress::test_a_body_over_the_limit")),
    "F38": Row(
        "SIGTERM",
        ("life::test_running_streams_finish", "life::test_what_does_not_finish_in_time_hears_of_it"),
        "with twenty streams and ten requests",
    ),
    "F39": Row(
        "a reload under load",
        ("life::test_two_hundred_reloads_under_load", "life::test_a_reload_brings_models_and_running_streams_keep_theirs"),
    ),
    "F40": Row(
        "a reload of a broken file",
        ("life::test_two_hundred_reloads_under_load", "life::test_a_broken_file_changes_nothing"),
    ),
    "F41": Row(
        "kill -9",
        (
            "life::test_killed_in_mid_stream",
            "store_process::test_kill_9_loses_nothing_but_the_last_batch_and_leaves_nothing_open",
        ),
    ),
    "F42": Row(
        "the disk is full",
        (
            "store_process::test_a_full_disk_fails_no_request_and_the_rows_arrive_when_there_is_room",
            "store_process::test_a_server_that_must_keep_books_refuses_while_it_cannot",
        ),
    ),
    "F43": Row(
        "the database is locked",
        ("store_process::test_a_locked_file_fails_no_request_and_the_rows_arrive_when_it_is_free",),
    ),
    "F44": Row(
        "the log's pipe is stuck",
        ("logs::test_a_stuck_pipe_stops_nobody", "machine::test_what_is_not_logged_is_counted"),
    ),
    "F45": Row("few files may be open", ("life::test_few_open_files_are_enough",)),
    "F46": Row("the clock jumps", ("machine::test_a_clock_that_jumps", "fault_matrix::test_no_timer_reads_the_wall_clock")),
    "F47": Row(
        "the loop stands still",
        ("life::test_a_loop_that_stood_still", "life::test_systemd_hears_of_everything"),
        "that systemd restarts what does not feed its watchdog is systemd's",
    ),
    "F48": Row(
        "memory runs out",
        ("shedding::test_memory_near_its_limit", "shedding::test_the_limit_that_the_kernel_sets_is_not_reached"),
    ),
    "F49": Row("one hangs, the other throttles", ("fault_matrix::test_one_hangs_and_the_other_throttles",)),
    "F50": Row(
        "an idle connection that the upstream closed",
        ("fault_matrix::test_a_stale_connection_is_replaced", "http::test_a_stale_connection_does_not_show"),
    ),
}  # fmt: skip


def test_every_row_is_proved_by_tests_that_run() -> None:
    assert list(ROWS) == [f"F{n}" for n in range(1, 51)]
    named = {test for row in ROWS.values() for test in row.tests}
    assert all(row.tests for row in ROWS.values())
    files = sorted({f"tests/test_{test.partition('::')[0]}.py" for test in named})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *files], cwd=ROOT, capture_output=True, text=True
    )
    collected = set(re.findall(r"^tests/test_(\w+)\.py::(\w+)", done.stdout, re.M))
    assert named <= {f"{file}::{test}" for file, test in collected}, done.stdout + done.stderr
