"""Names that no program may take for anything but data: paths, devices, escapes, commands, patterns, and bytes that are no text."""

import itertools

LARGEST = 255
_PATHS = ["..", ".", "/", "//", "\\", "..\\..", "../", "/../", "./", ".//", "....//", "..;/", "%2e%2e/", "%2e%2e%2f", "%252e%252e%252f", "..%c0%af",
          "..%00/", "/etc/passwd", "/proc/self/environ", "/dev/null", "C:", "C:\\", "\\\\server\\share\\", "\\\\?\\C:\\", "\\\\.\\", "file:///",
          "~", "~root/", "$HOME/", "%USERPROFILE%\\", "//server/share/"]
_TARGETS = ["etc/passwd", "catalog.db", "master.key", "store/blobs/00/x", "authorized_keys", "cron.d/x"]
_DEVICES = ["CON", "PRN", "AUX", "NUL", "COM1", "LPT1", "CLOCK$", "con.txt", "nul.", "aux ", "CONIN$"]
_ENDINGS = ["", ".", " ", "...", " .", ":stream", "::$DATA", ".lnk", "\0", "\n", "\r\n", "\t", "\x7f", "\x1b[2J", "\x1b]0;title\x07", "\u202e",
            "\u200b", "\u00a0", "\ufeff", "\u2028"]
_COMMANDS = ["; rm -rf /", "| nc -l 1", "`id`", "$(id)", "&& id", "--help", "-rf", "-", "--", "--service=127.0.0.1:1", "@file", "!!", "*", "?",
             "[a-z]*", "{a,b}", "**", "#", "'", '"', "\\'", "' OR 1=1 --", "'; DROP TABLE versions; --", "\" OR \"\"=\"", "%s%s%s%n", "%x" * 20, "%1000000d", "{0}", "{{7*7}}",
             "${jndi:ldap://x}", "<script>alert(1)</script>", "]]>", "&lt;", "\"}\n{\"", "level=ERROR msg=forged", "I0101 00:00:00.000000 1 forged.cc:1] "]
_ALIKE = ["f\u0456le", "file\u0301", "\ufb01le", "FILE", "file", "\u212aelvin", "stra\u00dfe", "\u0130", "\u0131"]
_BYTES = [b"\xff", b"\xfe\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"a\xc3",
          bytes(range(1, 32)), bytes(range(128, 256)), b"\0", b"a\0b"]


def hostile_names(count):
    """At least that many different ones, of 1 to 255 bytes; none begins with a zero byte, where a name ends."""
    made = itertools.chain(
        (path + target for path in _PATHS for target in _TARGETS), _PATHS, _COMMANDS, _ALIKE,
        (device + ending for device in _DEVICES for ending in _ENDINGS), ("name" + ending for ending in _ENDINGS),
        (command + ending for command in _COMMANDS for ending in _ENDINGS[:6]),
        ("../" * depth + "x" for depth in range(1, 80)), ("a/" * depth + "x" for depth in range(1, 120)),
        ("n" * size for size in (1, 254, LARGEST)))
    names = dict.fromkeys([*_BYTES, *(name.encode() for name in made)])
    # In the old protocol a name ends at its first zero byte.
    names = dict.fromkeys(name.split(b"\0")[0][:LARGEST] for name in names)
    names.pop(b"", None)
    assert len(names) >= count, len(names)
    return list(names)
