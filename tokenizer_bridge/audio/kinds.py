"""The kind of a file by its content: names and headers of audio files often disagree."""

import re
from pathlib import Path

# What people take for music and libsndfile does not read. Without ffmpeg such a file fails with
# a reason, instead of being passed over in silence.
FOR_FFMPEG = frozenset(
    "3gp aac ac3 alac amr ape asf avi dff dsf dts eac3 flv m4a m4b m4v mka mkv mov mp4 mpc mpeg "
    "mpg ofr ogv ra rm shn spx tak tta weba webm wma wmv wv".split()
)
# What libsndfile reads.
READABLE = frozenset(
    "aif aifc aiff au caf flac mp1 mp2 mp3 oga ogg opus rf64 snd voc w64 wav wave".split()
)

_SEARCHED = 2**12  # bytes; far more than any of the marks below needs

# (what it is, pattern at the file's start), the first that fits; then those of no audio.
_AUDIO = (
    ("MP4 (M4A, AAC, ALAC or video)", rb"....(ftyp|moov|mdat|wide|free)"),
    ("ASF (WMA or WMV)", rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),
    ("Matroska or WebM", rb"\x1a\x45\xdf\xa3"),
    ("WavPack", rb"wvpk"),
    ("Monkey's Audio", rb"MAC "),
    ("Musepack", rb"MP\+|MPCK"),
    ("DSD", rb"DSD |FRM8"),
    ("TTA", rb"TTA1"),
    ("AMR", rb"#!AMR"),
    ("TAK", rb"tBaK"),
    ("Shorten", rb"ajkg"),
    ("RealMedia", rb"\.RMF|\.ra\xfd"),
    ("AVI", rb"RIFF....AVI "),
    ("Flash video", rb"FLV\x01"),
    ("MPEG video", rb"\x00\x00\x01\xba"),
    ("Ogg Speex", rb"OggS.{23,282}?Speex   "),
    ("Ogg video", rb"OggS.{23,282}?\x80theora"),
    ("Ogg FLAC", rb"OggS.{23,282}?\x7fFLAC"),
    ("AC-3", rb"\x0b\x77"),
    ("AAC", rb"\xff[\xf0\xf1\xf8\xf9]"),
    ("WAV", rb"(RIFF|RF64)....WAVE"),
    ("FLAC", rb"fLaC"),
    ("Ogg", rb"OggS"),
    ("AIFF", rb"FORM....AIF[FC]"),
    ("MP3", rb"ID3|\xff[\xe2-\xff]"),
)
_OTHER = (
    ("a web page", rb"\s*<(?i:!doctype html|html|!--)"),
    ("a picture", rb"\xff\xd8\xff|\x89PNG|GIF8"),
    ("a ZIP archive", rb"PK\x03\x04"),
    ("a RAR archive", rb"Rar!"),
    ("a PDF", rb"%PDF"),
    ("MIDI, which holds notes and no sound", rb"MThd"),
    ("a playlist", rb"#EXTM3U|\[playlist\]"),
    ("nothing but zeros", rb"\0{512}"),
)
_TEXT = re.compile(rb"[\t\n\r\x20-\x7e]{64,}\Z")


def kind_of(path: Path) -> tuple[str, bool] | None:
    """(what a file is, whether that is audio or video), by its first bytes; None if unknown.

    Raises OSError.
    """
    with open(path, "rb") as file:
        head = file.read(_SEARCHED)
    # "MP3" is last: two bytes are a weak sign, and a picture's begin like it.
    for table, is_audio in ((_AUDIO[:-1], True), (_OTHER, False), (_AUDIO[-1:], True)):
        for name, pattern in table:
            if re.match(pattern, head, re.DOTALL):
                return name, is_audio
    return ("text", False) if _TEXT.match(head) else None
