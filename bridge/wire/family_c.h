#pragma once

#include "bridge/wire/dialect.h"

namespace backup::wire {

// Family C, request codes 1025 to 1031. Clients that say header version 1 compare the CRC-32 of the
// ciphertext, all others the cksum of the plaintext. Stateless.
class FamilyC final : public Dialect {
 public:
  absl::string_view name() const override { return "C"; }
  bool Claims(const RequestHeader& header) const override;
  absl::StatusOr<std::optional<DecodedHead>> DecodeHead(absl::string_view bytes) const override;
  std::string EncodeReply(const Reply& reply) const override;
};

}  // namespace backup::wire
