#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>

#include "absl/strings/string_view.h"
#include "grpcpp/support/byte_buffer.h"

namespace backup::bench {

// What bare-echo's processes say to each other: messages as long as ours, in which only the kind of
// the request and the number of its session mean something.
enum class BareRequest : uint8_t { kRegister, kExchangeKey, kUpload, kReport };
inline constexpr int kBareRequests = 4;

// Bytes of a request's messages on one hop, as a session of backup-bench has them.
struct BareSizes {
  size_t request;
  size_t response;
};
using BareHop = std::array<BareSizes, kBareRequests>;
// Between client and front: the old protocol's, of family C.
inline constexpr BareHop kClientHop = {{{278, 23}, {438, 151}, {1322, 286}, {278, 23}}};
// Between front and back: our API's.
inline constexpr BareHop kServiceHop = {{{19, 85}, {223, 169}, {1190, 127}, {53, 38}}};

struct BareMessage {
  BareRequest kind = BareRequest::kRegister;
  uint64_t session = 0;
};

inline grpc::ByteBuffer EncodeBareRequest(const BareHop& hop, const BareMessage& message) {
  std::string bytes(hop[static_cast<size_t>(message.kind)].request, 'm');
  bytes[0] = static_cast<char>(message.kind);
  std::memcpy(bytes.data() + 1, &message.session, sizeof(message.session));
  const grpc::Slice slice(std::move(bytes));
  return grpc::ByteBuffer(&slice, 1);
}

inline grpc::ByteBuffer EncodeBareResponse(const BareHop& hop, BareRequest kind) {
  const grpc::Slice slice(std::string(hop[static_cast<size_t>(kind)].response, 'r'));
  return grpc::ByteBuffer(&slice, 1);
}

// Of a request that one of us made.
inline BareMessage DecodeBareRequest(const grpc::ByteBuffer& bytes) {
  grpc::Slice slice;
  BareMessage message;
  if (!bytes.DumpToSingleSlice(&slice).ok() || slice.size() < 1 + sizeof(message.session))
    return message;
  message.kind = static_cast<BareRequest>(*slice.begin() % kBareRequests);
  std::memcpy(&message.session, slice.begin() + 1, sizeof(message.session));
  return message;
}

}  // namespace backup::bench
