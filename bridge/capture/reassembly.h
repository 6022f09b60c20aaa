#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bridge/capture/tcp_segment.h"
#include "bridge/wire/conversation.h"

namespace backup::capture {

// Connections that are kept of a capture, and bytes of all of them.
inline constexpr size_t kMaxConnections = 4096;
inline constexpr size_t kMaxBytes = size_t{256} << 20;
// Bytes that wait for earlier ones, with what it takes to keep them; with more the earlier ones are
// given up.
inline constexpr size_t kMaxWaiting = size_t{4} << 20;
// The most bytes at a time that are taken for missing; what is farther away is left out.
inline constexpr size_t kMaxGap = size_t{16} << 20;

// Makes conversations of TCP segments in the order of a capture, which may be out of order, come
// again, overlap and be missing. Used by one thread at a time.
class Reassembly {
 public:
  // False once a limit is reached: then it takes no more.
  bool Add(const TcpSegment& segment);
  // What was said, in the order of the connections' beginnings; those without a byte are left out.
  // The last call.
  std::vector<wire::Conversation> Finish();

 private:
  // Bytes that came before their turn.
  struct Piece {
    std::string bytes;
    size_t size = 0;  // As sent: more than `bytes` if it was cut while it was captured.
  };
  struct Direction {
    bool is_known = false;  // Whether the next ones mean anything.
    uint32_t first = 0;     // Sequence number of its first byte.
    uint64_t next = 0;      // Bytes that were said before what is to come.
    uint64_t end = 0;       // As far as it is known to have gone.
    std::map<uint64_t, Piece> waiting;
  };
  struct Connection {
    wire::Conversation conversation;
    Endpoint client;
    Endpoint server;
    bool began_with_syn = false;
    uint32_t syn_sequence = 0;
    bool differs = false;  // Bytes came again as others.
    uint64_t left_out = 0;
    Direction from_client;
    Direction from_server;
  };

  Connection* Find(const TcpSegment& segment);
  Connection* Open(const TcpSegment& segment);
  void AddTo(Connection& connection, wire::Side side, const TcpSegment& segment);
  void Say(Connection& connection, wire::Side side, uint64_t at, absl::string_view bytes,
           size_t size);
  void SayWaiting(Connection& connection, wire::Side side, bool give_up);
  static Direction& DirectionOf(Connection& connection, wire::Side side) {
    return side == wire::Side::kClient ? connection.from_client : connection.from_server;
  }

  std::vector<std::unique_ptr<Connection>> connections_;
  std::map<std::pair<Endpoint, Endpoint>, Connection*> open_;  // By client and server.
  size_t bytes_ = 0;
  size_t waiting_ = 0;
};

}  // namespace backup::capture
