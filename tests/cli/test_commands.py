# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line, run as a user runs it."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from scapy.config import conf

from scapy_btc.capture.live import LiveFrames
from scapy_btc.capture.reader import read
from scapy_btc.cli import reading
from scapy_btc.errors import CaptureError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent.parent
PCAPS = ROOT / "pcaps"
CLEAN = PCAPS / "core-v1-regtest.pcapng"
EXPECTED = tomllib.loads((PCAPS / "index.toml").read_text())
GENESIS = ("01000000" + "00" * 32 + "3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a"
           "29ab5f49ffff001d1dac2b7c")
VERACK = "f9beb4d976657261636b000000000000000000005df6e0e2"


class Terminal(io.StringIO):
    """What says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(*args: object, stdin: bytes = b"", status: int = 0, **environment: str) -> tuple[str, str]:
    """Output and errors of one run that must end with that status."""
    done = subprocess.run([sys.executable, "-m", "scapy_btc", *map(str, args)], input=stdin, capture_output=True,
                          timeout=60, env={**os.environ, **environment}, check=False)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == status, f"{done.returncode}: {out[-500:]}{err[-2000:]}"
    assert "Traceback" not in err
    return out, err


def lines(*args: object) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("read", "-T", "jsonl", *args)[0].splitlines()]


def test_every_message_is_a_line() -> None:
    out, err = run("read", CLEAN)
    expected = EXPECTED[CLEAN.name]
    assert len(out.splitlines()) == expected["messages"]
    assert err.startswith(f"{expected['messages']} messages, {expected['payload_bytes']:,} payload bytes")
    assert "127.0.0.1:18444 > " in out and " headers 120 up to 0" in out


def test_forms_agree() -> None:
    records = lines(CLEAN)
    whole = json.loads(run("read", "-T", "json", CLEAN)[0])
    assert records == whole and len(whole) == EXPECTED[CLEAN.name]["messages"]
    assert json.loads(run("read", "-T", "json", "--msgtype", "alert", "--since", "2036-01-01", CLEAN)[0]) == []
    text = run("read", CLEAN)[0].splitlines()
    assert [line.split()[5] for line in text] == [record["msgtype"] for record in records]


def test_filters() -> None:
    everything = lines(CLEAN)
    assert {r["msgtype"] for r in lines("--msgtype", "ping,pong", "--msgtype", "addrv2", CLEAN)} <= {
        "ping", "pong", "addrv2"}
    one = lines("--connection", 1, CLEAN)
    assert one == [r for r in everything if r["connection"] == 1] and one
    peer = str(everything[0]["source"])
    assert lines("--peer", peer, CLEAN) == [r for r in everything if peer in (r["source"], r["destination"])]
    middle = str(everything[100]["time"])
    early, late = lines("--until", middle, CLEAN), lines("--since", middle, CLEAN)
    assert early and late and len(early) + len(late) == len(everything)
    assert len(lines("-c", 7, CLEAN)) == 7


def test_a_transaction_is_followed() -> None:
    tx = next(r for r in lines(CLEAN) if r["msgtype"] == "tx")
    wtxid = tx["derived"]["wtxid"]  # type: ignore[index]
    followed = lines("--txid", wtxid, CLEAN)
    assert {"inv", "getdata", "tx"} <= {str(r["msgtype"]) for r in followed}
    assert len(followed) < 40


def test_either_id_of_a_transaction_finds_the_same_messages(tmp_path: Path) -> None:
    ids = next(r["derived"] for r in lines(CLEAN) if r["msgtype"] == "tx"
               and r["derived"]["txid"] != r["derived"]["wtxid"])  # type: ignore[index]
    by_txid = lines("--txid", ids["txid"], CLEAN)  # type: ignore[index]
    assert by_txid == lines("--txid", ids["wtxid"], CLEAN) and by_txid[0]["msgtype"] == "inv"  # type: ignore[index]
    _, err = run("read", "--txid", ids["txid"], "-", stdin=CLEAN.read_bytes())  # type: ignore[index]
    assert err.splitlines()[0] == f"scapy-btc: also known as {ids['wtxid']}"  # type: ignore[index]
    assert "also known" not in run("read", "--txid", ids["txid"], CLEAN)[1]  # type: ignore[index]


def test_a_block_is_followed() -> None:
    block = next(r for r in lines(CLEAN) if r["msgtype"] == "cmpctblock")
    followed = lines("--block", block["derived"]["block_hash"], CLEAN)  # type: ignore[index]
    assert "cmpctblock" in {r["msgtype"] for r in followed} and len(followed) < 60


def test_what_was_selected_is_written(tmp_path: Path) -> None:
    for name in ("some.pcapng", "some.pcap", "some.pcapng.gz"):
        run("read", "--msgtype", "version,verack,tx", "-q", "-w", tmp_path / name, CLEAN)
        written, wanted = lines(tmp_path / name), lines("--msgtype", "version,verack,tx", CLEAN)
        keep = ("time", "source", "destination", "msgtype", "fields", "network", "checksum")
        assert [{k: r[k] for k in keep} for r in written] == [{k: r[k] for k in keep} for r in wanted]


def test_a_pipe_in_and_a_pipe_out() -> None:
    packed = gzip.compress(CLEAN.read_bytes())
    assert run("read", "-", stdin=packed)[0] == run("read", CLEAN)[0]
    written = subprocess.run([sys.executable, "-m", "scapy_btc", "read", "-q", "-w", "-", str(CLEAN)],
                             capture_output=True, timeout=60, check=True).stdout
    assert len(run("read", "-", stdin=written)[0].splitlines()) == EXPECTED[CLEAN.name]["messages"]


def test_several_files_and_one_that_is_none() -> None:
    out, err = run("read", "/etc/hostname", CLEAN, "/nonexistent", status=1)
    assert len(out.splitlines()) == EXPECTED[CLEAN.name]["messages"]
    problems = [line for line in err.splitlines() if line.startswith("scapy-btc:")]
    assert len(problems) == 2 and "/etc/hostname" in problems[0] and "/nonexistent: No such file" in problems[1]


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"hello", b"\xd4\xc3\xb2\xa1",
                                     b"\x0a\x0d\x0d\x0a" + b"\xff" * 60, b"\x1f\x8b" + b"x" * 40,
                                     b"\x28\xb5\x2f\xfd" + b"x" * 40])
def test_what_is_no_capture_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    out, err = run("read", tmp_path / "file", status=1)
    assert out == "" and len(err.splitlines()) == 1 and str(tmp_path / "file") in err
    _, err = run("stats", tmp_path / "file", status=1)
    assert len(err.splitlines()) == 1


def test_a_capture_cut_short_is_shown_as_far_as_it_goes() -> None:
    cut = PCAPS / "broken-cut.pcap"
    out, err = run("read", "-T", "jsonl", cut, status=1)
    messages = [line for line in out.splitlines() if "msgtype" in json.loads(line)]
    assert len(messages) == EXPECTED[cut.name]["messages"]
    assert err.splitlines()[0] == f"scapy-btc: {cut}: cut short inside frame {EXPECTED[cut.name]['frames'] + 1}"


def test_strict() -> None:
    run("read", "--strict", "-q", CLEAN)
    out, _ = run("read", "--strict", "-q", PCAPS / "broken-checksums.pcap.gz", status=3)
    assert f"bad-checksum {EXPECTED['broken-checksums.pcap.gz']['bad_checksums']}" in out
    run("stats", "--strict", PCAPS / "broken-checksums.pcap.gz", status=3)
    run("stats", PCAPS / "broken-checksums.pcap.gz")


def test_trees_and_bytes() -> None:
    out, _ = run("read", "-V", "-x", "-c", 1, CLEAN)
    assert "###[ BTC version ]###" in out and "user_agent= '/Satoshi:28.1.0/'" in out
    assert "  000000  fa bf b5 da 76 65 72 73 69 6f 6e 00 00 00 00 00  ....version....." in out


def test_colours_only_on_terminals() -> None:
    assert "\x1b" not in run("read", PCAPS / "broken-checksums.pcap.gz")[0]


def test_a_closed_pipe_is_quiet() -> None:
    with subprocess.Popen([sys.executable, "-m", "scapy_btc", "read", str(PCAPS / "bcoin-regtest.pcapng")],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as reader:
        assert reader.stdout and reader.stderr
        reader.stdout.readline()
        reader.stdout.close()
        assert reader.stderr.read() == b""
        assert reader.wait(30) == 0


def test_an_interrupt_is_quiet_and_tells_what_there_was(tmp_path: Path) -> None:
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    with subprocess.Popen([sys.executable, "-m", "scapy_btc", "read", str(fifo)], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as reader, fifo.open("wb", buffering=0) as writer:
        assert reader.stdout and reader.stderr
        writer.write(CLEAN.read_bytes()[:60_000])
        assert " version " in reader.stdout.readline()
        time.sleep(0.3)
        reader.send_signal(signal.SIGINT)
        reader.stdout.read()
        errors = reader.stderr.read()
        assert reader.wait(30) == 130 and "Traceback" not in errors and " messages, " in errors


def test_statistics() -> None:
    record = json.loads(run("stats", "-T", "json", CLEAN)[0])
    expected = EXPECTED[CLEAN.name]
    assert record["total"]["messages"] == expected["messages"] and record["total"]["bytes"] == expected["payload_bytes"]
    assert {name: tally["messages"] for name, tally in record["types"].items()} == expected["types"]
    assert len(record["connections"]) == expected["connections"]
    assert record["findings"] == {} and record["events"] == {}
    said = record["connections"][0]["versions"]
    assert {v["user_agent"] for v in said.values()} == {"/Satoshi:28.1.0/"}
    out, _ = run("stats", PCAPS / "broken-loss.pcap.gz")
    assert "Handshakes" in out and "gap " in out and "/bcoin:v1.0.2/" in out


def test_decoding() -> None:
    out, _ = run("decode", VERACK)
    assert "msgtype   = 'verack'" in out and "5df6e0e2 (ok)" in out
    assert run("decode", stdin=f"{VERACK[:20]} {VERACK[20:]}\n".encode())[0] == out
    assert "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f" in run("decode", GENESIS)[0]
    assert json.loads(run("decode", "-T", "json", "--as", "ping", "00" * 8)[0])["fields"] == {"nonce": 0}
    assert "! bad-checksum" in run("decode", VERACK[:-1] + "3")[0]
    assert "! malformed" in run("decode", "--as", "inv", "05", status=1)[0]


def test_decoding_shows_no_envelope_that_is_not_there() -> None:
    out, _ = run("decode", "--as", "ping", "0x0100000000000000")
    assert out.startswith("###[ BTC ping ]###") and "magic" not in out


def test_messages_in_one_piece_are_told_apart() -> None:
    out, _ = run("decode", VERACK * 3)
    assert out.count("'verack'") == 3 and "Padding" not in out
    out, _ = run("decode", VERACK * 2 + "f9be")
    assert out.count("'verack'") == 2 and "Padding" in out
    out, _ = run("decode", VERACK + VERACK[:32] + "03" + VERACK[34:], status=1)
    assert out.count("'verack'") == 2 and "3 of 3 payload bytes are missing" in out


@pytest.mark.parametrize(("args", "problem"), [
    (("zz",), "not hex: zz"), (("abcd",), "2 bytes that are no message"),
    (("--as", "nothing", "00"), "no message is called"),
    (("--as", "versoin", "00"), "no message is called 'versoin'; did you mean version?"),
    (("02000000" "01" + "11" * 20,), "as tx: cut short in inputs at byte "),
    (("02000000" "00" "00" "00000000" "ff",), "as tx: ends at byte 10 of 11"),
    (("f9beb4d9" "7665",), "as message: 6 of 24"),
])
def test_what_cannot_be_decoded_is_one_line(args: tuple[str, ...], problem: str) -> None:
    _, err = run("decode", *args, status=1)
    assert problem in err and len(err.splitlines()) == 1


def test_the_catalogue() -> None:
    out, _ = run("messages")
    assert len(out.splitlines()) > 90
    out, _ = run("messages", "inv")
    assert "at most 50,000" in out and "answered by       getdata" in out
    assert json.loads(run("messages", "--schema")[0])["oneOf"]
    assert "bad-merkle-root" in run("messages", "--findings")[0]
    assert "no message is called" in run("messages", "nothing", status=2)[1]


def test_help_teaches() -> None:
    for command in ("read", "decode", "stats", "sniff", "messages", "shell", "completion"):
        out, _ = run(command, "--help")
        assert out.startswith(f"Usage: scapy-btc {command}"), command
        if command != "shell":
            assert "Examples:" in out, command


def test_completion_completes() -> None:
    assert "_SCAPY_BTC_COMPLETE" in run("completion", "bash")[0]
    out, _ = run(_SCAPY_BTC_COMPLETE="bash_complete", COMP_WORDS="scapy-btc read --msgtype tx,ver", COMP_CWORD="3")
    assert "plain,tx,version" in out and "plain,tx,verack" in out


def test_usage_errors() -> None:
    run("read", status=2)
    run("read", "--since", "yesterday-ish", CLEAN, status=2)
    run("read", "--network", "moonnet", CLEAN, status=2)
    run("read", "--txid", "1234", CLEAN, status=2)
    run("read", "-c", "0", CLEAN, status=2)


@pytest.mark.parametrize(("args", "problem"), [
    (("-V", "-T", "json"), "-V is for -T text"), (("-x", "-T", "jsonl"), "-x is for -T text"),
    (("--derived",), "--derived is for -T jsonl and json"), (("--payload",), "--payload is for"),
    (("--no-fields",), "--no-fields is for"), (("--follow",), "--follow is for message captures"),
    (("--peer", "a b"), "'a b' is no address"),
])
def test_what_would_do_nothing_is_a_usage_error(args: tuple[str, ...], problem: str) -> None:
    assert problem in run("read", *args, CLEAN, status=2)[1]


@pytest.mark.parametrize("command", ["read", "stats"])
def test_names_that_no_message_has_are_told(command: str) -> None:
    _, err = run(command, "--msgtype", "versoin", CLEAN, status=1)
    assert "scapy-btc: no message is called 'versoin'; did you mean version?" in err
    assert "0 of 370 messages were chosen" in err
    assert "called" not in run(command, "--msgtype", "version,_x", CLEAN)[1]
    assert "did you mean inv?" in run("messages", "inw", status=2)[1]


@pytest.mark.parametrize("command", ["read", "stats"])
def test_the_network_of_a_message_capture_is_told(command: str, tmp_path: Path) -> None:
    record = (1_795_226_269 * 10**6).to_bytes(8, "little") + b"verack".ljust(12, b"\0") + bytes(4)
    for name in ("one_8333", "two_8333"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "msgs_recv.dat").write_bytes(record)
    note = "scapy-btc: no network is written in a message capture: read as mainnet; --network says another"
    parts = sorted(tmp_path.iterdir())
    assert run(command, *parts)[1].splitlines().count(note) == 1
    assert note not in run(command, "--network", "regtest", *parts)[1]
    assert note not in run(command, CLEAN, PCAPS / "core-blocks" / "blk00000.dat")[1]


def test_names_of_a_capture_that_nobody_knows_are_no_mistake(tmp_path: Path) -> None:
    record = (1_795_226_269 * 10**6).to_bytes(8, "little") + b"versoin".ljust(12, b"\0") + bytes(4)
    (tmp_path / "msgs_recv.dat").write_bytes(record)
    out, err = run("read", "--msgtype", "versoin", tmp_path)
    assert "versoin (unknown)" in out and "called" not in err


def test_what_cannot_be_written_is_told(tmp_path: Path) -> None:
    _, err = run("read", "-q", "-w", tmp_path / "out.pcapng", PCAPS / "broken-loss.pcap.gz")
    assert "scapy-btc: not written: gap " in err


def test_nothing_read_nothing_counted() -> None:
    out, err = run("stats", "/etc/hostname", "/nonexistent", status=1)
    assert out == "" and len(err.splitlines()) == 2


@pytest.mark.parametrize(("kept", "shown"), [(True, True), (False, False)])
def test_the_bar_does_not_mix_with_what_is_piped(kept: bool, shown: bool, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PATIENCE", -1.0)
    monkeypatch.setattr(sys, "stderr", Terminal())
    reads, writes = os.pipe()
    with os.fdopen(writes, "w") as pipe, open(reads, "rb"), (tmp_path / "out").open("w") as file:
        out = file if kept else pipe
        monkeypatch.setattr(sys, "stdout", out)
        with reading.progress(str(CLEAN), out) as report, read(CLEAN) as reader:
            for _ in report(reader):
                pass
    assert bool(sys.stderr.getvalue()) == shown  # type: ignore[attr-defined]


def test_help_loads_no_scapy() -> None:
    code = "import sys; sys.argv = ['scapy-btc', '--help']\ntry:\n import scapy_btc.cli as c; c.main()\n" \
           "except SystemExit: pass\nassert not any(m.split('.')[0] in ('scapy', 'rich') for m in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, stdout=subprocess.DEVNULL)


def test_losses_elsewhere_are_not_counted() -> None:
    loss = PCAPS / "broken-loss.pcap.gz"
    everything = run("read", "-q", loss)[0]
    first, second = (run("read", "-q", "--connection", n, loss)[0] for n in (0, 1))
    gaps = [int(out.split("gap ")[1].split(";")[0]) if "gap " in out else 0 for out in (everything, first, second)]
    assert gaps[0] == gaps[1] + gaps[2] > gaps[2]
    assert run("read", "-q", "--since", "2027-01-01", loss)[0] == "0 of 313 messages were chosen\n"


def test_connections_of_several_files_are_told_apart() -> None:
    both = json.loads(run("stats", "-T", "json", CLEAN, PCAPS / "bcoin-regtest.pcapng")[0])
    assert [c["connection"] for c in both["connections"]] == list(range(
        EXPECTED[CLEAN.name]["connections"] + EXPECTED["bcoin-regtest.pcapng"]["connections"]))


@pytest.mark.parametrize("asked", [(), ("any",)])
def test_interfaces_that_are_down_are_left_out(asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    def listen(iface: str, filter: str | None) -> MagicMock:
        if iface in down:
            raise OSError(errno.ENETDOWN, "Network is down")
        return MagicMock(**{"ins.getsockopt.return_value": bytes(8)})

    import_module("scapy.layers.l2")  # registers interfaces where they will be replaced
    up = [MagicMock(**{"is_valid.return_value": True}) for _ in range(2)]
    up[0].name, up[1].name = "one0", "two0"
    monkeypatch.setattr(conf, "ifaces", {i.name: i for i in [*up, MagicMock(**{"is_valid.return_value": False})]})
    monkeypatch.setattr(conf, "L2listen", listen)
    down = {"two0"}
    assert LiveFrames(asked).names == ("one0",)
    with pytest.raises(CaptureError, match="two0: cannot listen"):
        LiveFrames(["two0"])
    down = {"one0", "two0"}
    with pytest.raises(CaptureError, match="no interface is up"):
        LiveFrames(asked)
