#pragma once

#include <string>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"
#include "bridge/wire/message.h"
#include "glog/logging.h"

namespace backup::wire {

// Dies if `dialect` breaks a promise of bridge/wire/dialect.h over `bytes`.
inline void CheckDialect(const Dialect& dialect, absl::string_view bytes) {
  const auto whole = dialect.DecodeHead(bytes);
  if (whole.ok() && !whole->has_value()) CHECK_LT(bytes.size(), kMaxHeadSize);
  if (!whole.ok() || !whole->has_value()) return;
  const size_t head_size = (*whole)->head_size;
  CHECK_LE(head_size, bytes.size());
  CHECK_LE(head_size, kMaxHeadSize);
  // The head alone says the same, and one byte less does not yet.
  const auto alone = dialect.DecodeHead(bytes.substr(0, head_size));
  CHECK(alone.ok() && alone->has_value() && (*alone)->body_size == (*whole)->body_size);
  const auto less = dialect.DecodeHead(bytes.substr(0, head_size - 1));
  CHECK(less.ok() && !less->has_value());
}

// Dies if an answer of `dialect` is larger than any may be. `request` as for EncodeReply().
inline void CheckAnswers(const Dialect& dialect, const Request* request) {
  const ClientId id = *ClientId::FromBytes("0123456789abcdef");
  const std::string key(128, 'k');
  for (const Reply& reply :
       std::vector<Reply>{Registered{id}, RegistrationFailed{}, KeyAccepted{id, key},
                          FileReceived{id, 7, std::string(255, 'n'), 9}, Acknowledged{id},
                          Reconnected{id, key}, ReconnectDenied{id}, GeneralError{}}) {
    CHECK_LE(dialect.EncodeReply(reply, request).size(), kMaxHeadSize);
  }
}

// Decodes `bytes` as a packet without a header, if `first` begins a file of such packets.
inline void TryBarePacket(const Dialect& dialect, const DecodedHead& first,
                          absl::string_view bytes) {
  const auto* const file = std::get_if<SendFile>(&first.request.operation);
  if (file != nullptr && file->packet && dialect.content().packets->header_on_first_only)
    (void)dialect.DecodeBarePacket(bytes, first);
}

}  // namespace backup::wire
