// Captures that people give to be explained: texts of hex, and packets, which may be cut, out of
// order and of anything. What is told was there, and memory goes with what was captured.

#include <algorithm>
#include <string>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/printable.h"
#include "bridge/capture/hex_text.h"
#include "bridge/capture/reassembly.h"
#include "bridge/capture/tcp_segment.h"
#include "glog/logging.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using namespace capture;  // NOLINT: all of it.

constexpr LinkType kLinkTypes[] = {
    LinkType::kNull,       LinkType::kEthernet, LinkType::kRaw,
    LinkType::kRawInFiles, LinkType::kLoop,     LinkType::kLinuxCooked,
    LinkType::kIpv4,       LinkType::kIpv6,     LinkType::kLinuxCooked2};

void CheckSpoken(const wire::SpokenBytes& spoken) {
  size_t end = 0;
  for (const wire::SpokenBytes::Gap& gap : spoken.gaps) {
    CHECK(gap.at >= end && gap.size > 0);
    end = gap.at + gap.size;
  }
  CHECK_LE(end, spoken.bytes.size());
  CHECK_LE(spoken.MissingIn(0, spoken.bytes.size()), spoken.bytes.size());
}

void CheckConversation(const wire::Conversation& conversation) {
  CHECK(Printable(conversation.name) == conversation.name);
  CheckSpoken(conversation.client);
  CheckSpoken(conversation.server);
  for (const wire::Conversation::Turn& turn : conversation.turns)
    CHECK(turn.client_end <= conversation.client.bytes.size() &&
          turn.server_end <= conversation.server.bytes.size());
}

void TryText(absl::string_view text) {
  const auto conversations = ReadHexText(text);
  if (!conversations.ok()) {
    CHECK(absl::IsInvalidArgument(conversations.status()));
    CHECK(Printable(conversations.status().message()) == conversations.status().message());
    return;
  }
  for (const wire::Conversation& conversation : *conversations) CheckConversation(conversation);
}

// Bytes as somebody would write them: the same comes back.
void TryWritten(absl::string_view bytes) {
  if (bytes.empty()) return;
  const auto conversations =
      ReadHexText(absl::StrCat("C> ", absl::BytesToHexString(bytes), "\nS> 00\n"));
  CHECK(conversations.ok() && conversations->size() == 1);
  CHECK(conversations->front().client.bytes == bytes);
}

void TryPackets(Input& input) {
  const LinkType link_type = kLinkTypes[input.Below(std::size(kLinkTypes))];
  Reassembly reassembly;
  size_t captured = 0;
  while (!input.AtEnd()) {
    const absl::string_view packet = input.Text(200);
    const Unwrapped unwrapped = FindTcp(link_type, packet);
    if (unwrapped.kind != Unwrapped::Kind::kTcp) continue;
    CHECK_LE(unwrapped.segment.payload.size(), unwrapped.segment.payload_size);
    CHECK_LE(unwrapped.segment.payload.size(), packet.size());
    CHECK(!ToText(unwrapped.segment.source).empty());
    captured += unwrapped.segment.payload.size();
    reassembly.Add(unwrapped.segment);
  }
  for (const wire::Conversation& conversation : reassembly.Finish()) {
    CheckConversation(conversation);
    CHECK_LE(conversation.client.bytes.size() -
                 conversation.client.MissingIn(0, conversation.client.bytes.size()),
             captured);
  }
}

// Segments of one connection, in any order and number: what is told as captured is what was sent
// there.
void TrySegments(Input& input) {
  const Endpoint client{std::string("\x0A\0\0\x01", 4), 40000};
  const Endpoint server{std::string("\x0A\0\0\x02", 4), 1357};
  const uint32_t first = static_cast<uint32_t>(input.Uint(4));
  const std::string sent(input.Text(300));
  Reassembly reassembly;
  TcpSegment syn;
  syn.source = client;
  syn.destination = server;
  syn.sequence = first - 1;
  syn.syn = true;
  reassembly.Add(syn);
  while (!input.AtEnd()) {
    const size_t at = input.Below(sent.size() + 1);
    TcpSegment segment = syn;
    segment.syn = false;
    segment.ack = true;
    segment.sequence = first + static_cast<uint32_t>(at);
    segment.payload = absl::string_view(sent).substr(at, input.Byte());
    segment.payload_size = segment.payload.size();
    reassembly.Add(segment);
  }
  for (const wire::Conversation& conversation : reassembly.Finish()) {
    CheckConversation(conversation);
    const std::string& told = conversation.client.bytes;
    CHECK_LE(told.size(), sent.size());
    if (conversation.client.gaps.empty()) CHECK(sent.substr(0, told.size()) == told);
  }
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  switch (input.Below(4)) {
    case 0:
      return TryText(input.Rest());
    case 1:
      return TryWritten(input.Rest());
    case 2:
      return TryPackets(input);
    default:
      return TrySegments(input);
  }
}

}  // namespace backup::fuzz
