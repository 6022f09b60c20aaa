#include "bridge/capture/reassembly.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"

namespace backup::capture {
namespace {

// What keeping a piece takes besides its bytes, about.
constexpr size_t kPieceOverhead = 128;

}  // namespace

using wire::Side;

// One whose beginning is not in the capture is known by its ports: servers have the lower ones.
Reassembly::Connection* Reassembly::Open(const TcpSegment& segment) {
  if (connections_.size() >= kMaxConnections) return nullptr;
  auto connection = std::make_unique<Connection>();
  const bool client_is_source =
      segment.syn ? !segment.ack : segment.source.port >= segment.destination.port;
  connection->client = client_is_source ? segment.source : segment.destination;
  connection->server = client_is_source ? segment.destination : segment.source;
  connection->began_with_syn = segment.syn;
  connection->syn_sequence = segment.sequence;
  connection->conversation.name =
      absl::StrCat(ToText(connection->client), " to ", ToText(connection->server));
  if (!segment.syn) {
    connection->conversation.remarks.push_back(
        "it began before the capture: what was said first is missing, and the end with the lower "
        "port is taken for the server");
  }
  open_[{connection->client, connection->server}] = connection.get();
  connections_.push_back(std::move(connection));
  return connections_.back().get();
}

Reassembly::Connection* Reassembly::Find(const TcpSegment& segment) {
  auto found = open_.find({segment.source, segment.destination});
  if (found == open_.end()) found = open_.find({segment.destination, segment.source});
  if (found == open_.end()) return Open(segment);
  Connection& connection = *found->second;
  // The same ports again are another connection, unless it is the same beginning once more.
  const bool begins = segment.syn && !segment.ack;
  const bool again = connection.began_with_syn && connection.syn_sequence == segment.sequence;
  return begins && !again ? Open(segment) : &connection;
}

bool Reassembly::Add(const TcpSegment& segment) {
  if (bytes_ >= kMaxBytes) return false;
  Connection* const connection = Find(segment);
  if (connection == nullptr) return false;
  const bool from_client = segment.source == connection->client;
  AddTo(*connection, from_client ? Side::kClient : Side::kServer, segment);
  return true;
}

void Reassembly::AddTo(Connection& connection, Side side, const TcpSegment& segment) {
  Direction& direction = DirectionOf(connection, side);
  const uint32_t sequence = segment.sequence + (segment.syn ? 1 : 0);
  if (!direction.is_known) {
    if (segment.payload_size == 0 && !segment.syn) return;
    direction.is_known = true;
    direction.first = sequence;
  }
  // Where it is, relative to what comes next: at most 2 GiB away, on either side.
  const uint32_t next = direction.first + static_cast<uint32_t>(direction.next);
  const int64_t distance = static_cast<int32_t>(sequence - next);
  const int64_t at = static_cast<int64_t>(direction.next) + distance;
  if (at < 0) return;  // From before the capture.
  if (distance > static_cast<int64_t>(kMaxGap)) {
    connection.left_out += segment.payload_size;
    return;
  }
  const auto start = static_cast<uint64_t>(at);
  if (!segment.rst) direction.end = std::max(direction.end, start + segment.payload_size);
  if (segment.payload_size == 0) return;
  if (start <= direction.next) {
    Say(connection, side, start, segment.payload, segment.payload_size);
    SayWaiting(connection, side, /*give_up=*/false);
    return;
  }
  const auto [place, is_new] = direction.waiting.try_emplace(start);
  Piece& piece = place->second;
  if (piece.size >= segment.payload_size) return;
  waiting_ += segment.payload.size() - piece.bytes.size() + (is_new ? kPieceOverhead : 0);
  piece = {std::string(segment.payload), segment.payload_size};
  if (waiting_ > kMaxWaiting) SayWaiting(connection, side, /*give_up=*/true);
}

// Of `size` bytes at `at`, of which `bytes` were captured, says those that were not said before.
void Reassembly::Say(Connection& connection, Side side, uint64_t at, absl::string_view bytes,
                     size_t size) {
  Direction& direction = DirectionOf(connection, side);
  wire::Conversation& conversation = connection.conversation;
  const wire::SpokenBytes& spoken =
      side == Side::kClient ? conversation.client : conversation.server;
  const uint64_t old = direction.next - at;
  const size_t compared = std::min<uint64_t>(old, bytes.size());
  if (spoken.MissingIn(at, compared) == 0 &&
      absl::string_view(spoken.bytes).substr(at, compared) != bytes.substr(0, compared)) {
    connection.differs = true;
  }
  if (old >= size) return;
  const absl::string_view fresh = bytes.substr(compared);
  if (!fresh.empty()) conversation.Add(side, fresh);
  const size_t missing = size - std::max<uint64_t>(old, bytes.size());
  if (missing > 0) conversation.Add(side, {}, missing);
  direction.next = at + size;
  bytes_ += size - old;
}

void Reassembly::SayWaiting(Connection& connection, Side side, bool give_up) {
  Direction& direction = DirectionOf(connection, side);
  while (!direction.waiting.empty()) {
    const auto first = direction.waiting.begin();
    if (first->first > direction.next) {
      if (!give_up) return;
      const size_t missing = first->first - direction.next;
      connection.conversation.Add(side, {}, missing);
      direction.next = first->first;
      bytes_ += missing;
    }
    const Piece piece = std::move(first->second);
    const uint64_t at = first->first;
    direction.waiting.erase(first);
    waiting_ -= piece.bytes.size() + kPieceOverhead;
    Say(connection, side, at, piece.bytes, piece.size);
  }
}

std::vector<wire::Conversation> Reassembly::Finish() {
  std::vector<wire::Conversation> conversations;
  for (const std::unique_ptr<Connection>& connection : connections_) {
    for (const Side side : {Side::kClient, Side::kServer}) {
      SayWaiting(*connection, side, /*give_up=*/true);
      const Direction& direction = DirectionOf(*connection, side);
      if (direction.end > direction.next)
        connection->conversation.Add(side, {}, direction.end - direction.next);
    }
    wire::Conversation& conversation = connection->conversation;
    if (connection->differs) {
      conversation.remarks.push_back(
          "some bytes came again as others: those that came first are read");
    }
    if (connection->left_out > 0) {
      conversation.remarks.push_back(
          absl::StrCat(connection->left_out,
                       " bytes lie so far behind what was captured that they are left out"));
    }
    if (!conversation.turns.empty()) conversations.push_back(std::move(conversation));
  }
  return conversations;
}

}  // namespace backup::capture
