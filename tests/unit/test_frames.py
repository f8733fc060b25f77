"""The frame follower knows where frames end, however the bytes are cut."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proxy.frames import CONTROL, FrameFollower, close_frame, split_small
from tests.support.frames import frame

frames = st.builds(
    frame,
    st.sampled_from([0x0, 0x1, 0x2, 0x9, 0xA]),
    st.one_of(st.binary(max_size=200), st.integers(0, 70_000).map(bytes)),
    final=st.booleans(),
    mask=st.sampled_from([b"", b"abcd"]),
)


@given(st.lists(frames, max_size=8), st.data())
def test_any_cut_of_any_frames_gives_the_same_boundaries(sent: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(sent)
    boundaries = {sum(map(len, sent[:count])) for count in range(len(sent) + 1)}
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=12)) | boundaries)
    follower = FrameFollower()
    position = 0
    for cut in [*cuts, len(stream)]:
        follower.feed(memoryview(stream)[position:cut])
        position = cut
        assert follower.at_boundary == (position in boundaries)
    assert not follower.close_seen
    assert follower.control_bytes == sum(len(each) for each in sent if each[0] & CONTROL)
    assert follower.messages == sum(each[0] >> 7 for each in sent if not each[0] & CONTROL)


@given(st.lists(frames, max_size=4), st.integers(1, 7))
def test_a_close_frame_is_seen_however_it_is_cut(before: list[bytes], size: int) -> None:
    stream = b"".join(before) + close_frame(1001, "bye")
    follower = FrameFollower()
    for position in range(0, len(stream), size):
        follower.feed(stream[position : position + size])
    assert follower.close_seen
    assert follower.at_boundary


def test_a_clients_close_frame_is_masked_with_a_key_of_its_own() -> None:
    one, other = (close_frame(1001, "bye", masked=True) for _ in range(2))
    assert one[:2] == bytes([0x88, 0x80 | 5])
    key, payload = one[2:6], one[6:]
    assert bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) == b"\x03\xe9bye"
    assert one[2:6] != other[2:6]


def test_a_reason_is_cut_to_123_bytes_between_two_characters() -> None:
    reason = "ü" * 100
    sent = close_frame(1001, reason)
    assert sent[1] == 2 + 122
    assert sent[4:].decode() == "ü" * 61


@given(st.lists(st.binary(max_size=125), max_size=5), st.data())
def test_small_frames_are_read_however_they_are_cut(payloads: list[bytes], data: st.DataObject) -> None:
    sent = b"".join(bytes([0x81, len(payload)]) + payload for payload in payloads)
    cut = data.draw(st.integers(0, len(sent)))
    first, rest = split_small(sent[:cut])
    second, left = split_small(rest + sent[cut:])
    assert [payload for _, payload in first + second] == payloads
    assert left == b""
