#pragma once

#include <cstdint>

#include "bridge/wire/dialect.h"

namespace backup::wire {

// How a family lays the content of a file out.
enum class FileLayout {
  kWhole,    // One request: bridge/wire/whole_file.h.
  kPackets,  // One request for each packet: bridge/wire/packet.h.
};

// What tells the families apart: docs/wire-protocol.md, "Families". All else they have in common.
struct FamilyTraits {
  const char* name;
  uint16_t register_code;
  uint16_t public_key_code;
  uint16_t reconnect_code;
  uint16_t file_code;
  uint16_t valid_code;
  uint16_t retry_code;
  uint16_t abort_code;
  uint16_t first_answer_code;
  int session_key_bits;
  FileLayout file_layout;
  // Whether clients of header version 1 are of this family though another shares its codes.
  bool claims_version_1;
  // Whether they compare the CRC-32 of the ciphertext.
  bool version_1_compares_crc32;
  // Whether it is families A and B in one.
  bool is_a_and_b;
  bool may_send_blocks;
};

// A family of clients, by its traits. Families A and B are one of these: all their codes are the
// same, and they differ in what a request shows (the client's id in front) or does not have (A
// never reconnects). Stateless.
class Family final : public Dialect {
 public:
  explicit constexpr Family(const FamilyTraits& traits) : traits_(traits) {}

  absl::string_view name() const override { return traits_.name; }
  bool Claims(const RequestHeader& header) const override;
  bool IsRegistration(const RequestHeader& header) const override {
    return header.code == traits_.register_code;
  }
  bool MaySendBlocks() const override { return traits_.may_send_blocks; }
  absl::StatusOr<std::optional<DecodedHead>> DecodeHead(absl::string_view bytes) const override;
  std::string EncodeReply(const Reply& reply) const override;

 private:
  absl::StatusOr<std::optional<DecodedHead>> DecodeRequest(const RequestHeader& header,
                                                           absl::string_view payload) const;
  absl::StatusOr<std::optional<DecodedHead>> DecodeFile(const RequestHeader& header,
                                                        absl::string_view payload) const;
  // Which generation a request shows its sender to be.
  absl::string_view FamilyOf(const Operation& operation) const;

  FamilyTraits traits_;
};

}  // namespace backup::wire
