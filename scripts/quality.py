#!/usr/bin/env python3
"""How good and how dear are MediaRecorder's settings? Prints the table of docs/cost.md; about five minutes.

usage: make quality

Sentences of a speech synthesiser (flite, three voices) are recorded by Chromium at each bitrate, and by timeslice at 48 kb/s. Measured are
ViSQOL's speech score against the source (MOS-LQO, 1 to 5), the word errors of PocketSphinx, and on the local stack the age of a chunk
when it is persisted, and invocations. The dollars are those of scripts/cost with the deliveries that were counted. What is recorded stays in target/quality, and is used again.
"""

import importlib.machinery
import importlib.util
import json
import subprocess
import sys
import types
from pathlib import Path

import jiwer
import numpy
import soundfile
from pocketsphinx import Decoder
from visqol import VisqolApi

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "target/quality"
RATE = 16_000
BITRATES = [128, 64, 48, 32, 24]
TIMESLICES = [250, 500, 1_000, 2_000]
VOICES = ["slt", "rms", "awb"]
# Harvard sentences (IEEE, 1969), lists 1 and 2
SENTENCES = [
    "the birch canoe slid on the smooth planks",
    "glue the sheet to the dark blue background",
    "it is easy to tell the depth of a well",
    "these days a chicken leg is a rare dish",
    "rice is often served in round bowls",
    "the juice of lemons makes fine punch",
    "the box was thrown beside the parked truck",
    "four hours of steady work faced us",
    "a large size in stockings is hard to sell",
    "the boy was there when the sun rose",
    "the source of the huge river is the clear spring",
    "help the woman get back to her feet",
]
SILENCE_S = 0.5


def run(*command: str | Path, **options: object) -> None:
    subprocess.run([str(part) for part in command], check=True, **options)


def source() -> tuple[numpy.ndarray, list[tuple[int, int, str]]]:
    """All sentences in one piece, and where each is in it."""
    pieces, places, at = [numpy.zeros(RATE)], [], RATE
    for voice in VOICES:
        for n, sentence in enumerate(SENTENCES):
            file = OUT / f"{voice}-{n}.wav"
            run("flite", "-voice", voice, "-t", sentence, "-o", file)
            sound, rate = soundfile.read(file)
            assert rate == RATE, f"flite's voice {voice} speaks at {rate} Hz"
            places.append((at, at + len(sound), sentence))
            pieces += [sound, numpy.zeros(int(RATE * SILENCE_S))]
            at += len(pieces[-2]) + len(pieces[-1])
    return numpy.concatenate(pieces), places


def decoded(file: Path, sound: numpy.ndarray) -> numpy.ndarray:
    """The recording at 16 kHz, shifted to where it fits the source."""
    wav = file.with_suffix(".wav")
    run("ffmpeg", "-v", "error", "-y", "-i", file, "-ac", "1", "-ar", str(RATE), wav)
    heard, _ = soundfile.read(wav)
    size = 2 * max(len(heard), len(sound))
    likeness = numpy.fft.irfft(numpy.fft.rfft(heard, size) * numpy.conj(numpy.fft.rfft(sound, size)), size)
    lag = int(numpy.argmax(likeness[: 2 * RATE]))
    heard = heard[lag : lag + len(sound)]
    return numpy.pad(heard, (0, len(sound) - len(heard)))


def words(sound: numpy.ndarray, places: list[tuple[int, int, str]]) -> float:
    """Word errors, %."""
    decoder = Decoder(samprate=RATE, loglevel="FATAL")
    guesses = []
    for begin, end, _ in places:
        piece = sound[begin - RATE // 4 : end + RATE // 4]
        decoder.start_utt()
        decoder.process_raw((numpy.clip(piece, -1, 1) * 32_767).astype("<i2").tobytes(), full_utt=True)
        decoder.end_utt()
        guesses.append(decoder.hyp().hypstr if decoder.hyp() else "")
    return 100 * jiwer.wer([sentence for _, _, sentence in places], guesses)


def score(reference: numpy.ndarray, heard: numpy.ndarray, places: list[tuple[int, int, str]]) -> float:
    """ViSQOL's speech score, mean of every third sentence."""
    api = VisqolApi()
    api.create(mode="speech")
    scores = []
    for begin, end, _ in places[::3]:
        part = slice(begin - RATE // 4, end + RATE // 4)
        scores.append(api.measure_from_arrays(reference[part], heard[part], RATE).moslqo)
    return float(numpy.mean(scores))


def ages(ms: int) -> dict:
    """Of a replay at its own pace."""
    out = OUT / f"replay-{ms}"
    programs = ROOT / "target/debug/local-stack"
    run(programs, "replay", "--recording", OUT / str(ms), "--out", out, "--speed", "1", stdout=subprocess.DEVNULL)
    return json.loads((out / "report.json").read_text())


def cost() -> types.ModuleType:
    loader = importlib.machinery.SourceFileLoader("cost", str(ROOT / "scripts/cost"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("cost", loader))
    loader.exec_module(module)
    return module


def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    sound, places = source()
    soundfile.write(OUT / "source.wav", sound, RATE)
    lists = [",".join(map(str, numbers)) for numbers in (BITRATES, TIMESLICES)]
    if not (OUT / f"{BITRATES[-1]}.webm").exists():
        run("node", ROOT / "tests/browsers/encode.mjs", OUT / "source.wav", OUT, *lists)
    print(f"{len(sound) / RATE:.0f} s of speech; word errors of the source itself: {words(sound, places):.1f} %", flush=True)
    print("| kb/s | ViSQOL | word errors |\n|---|---|---|")
    for kbps in BITRATES:
        heard = decoded(OUT / f"{kbps}.webm", sound)
        size = (OUT / f"{kbps}.webm").stat().st_size * 8 / (len(sound) / RATE + 1) / 1_000
        print(f"| {kbps} ({size:.0f} in fact) | {score(sound, heard, places):.2f} | {words(heard, places):.1f} % |", flush=True)
    print("| timeslice | age p50 | age p99 | writer's invocations an hour |" + "".join(f" ${kbps} kb/s |" for kbps in BITRATES))
    print("|---|---|---|---|" + "---|" * len(BITRATES))
    for ms in TIMESLICES:
        print(row(ms, ages(ms), len(sound) / RATE + 1, cost()), flush=True)


def row(ms: int, report: dict, seconds: float, bill: types.ModuleType) -> str:
    fragments, invocations = report["fragments"], report["invocations"]
    age = report["ageAtWriteMs"]
    cells = []
    for kbps in BITRATES:
        sys.argv = ["cost", f"--chunk-ms={ms}", f"--bitrate={kbps}", "--acks=1", "--status-s=10"]
        sys.argv += [f"--deferrals={invocations / fragments - 1}", f"--fragment-s={seconds / fragments}"]
        cells.append(f" {sum(dollars for _, dollars, _ in bill.bill(bill.arguments())):.4f} |")
    return f"| {ms} ms | {age['p50']} ms | {age['p99']} ms | {invocations * 3_600 / seconds:.0f} |" + "".join(cells)


if __name__ == "__main__":
    sys.exit(main())
