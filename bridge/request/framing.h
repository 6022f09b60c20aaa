#pragma once

#include <cstdint>
#include <string>

#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "backup/v1/types.pb.h"
#include "base/ids.h"
#include "bridge/net/connection.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

struct FramingOptions {
  // How long the padding of a first message may take that comes in blocks; of later ones.
  absl::Duration first_padding_timeout = absl::Milliseconds(30);
  absl::Duration padding_timeout = absl::Seconds(2);
};

// Whether a client pads every message to whole blocks: docs/wire-protocol.md. Used by one thread at
// a time.
class Framing {
 public:
  // `options` must outlive this.
  explicit Framing(const FramingOptions& options) : options_(options) {}

  bool in_blocks() const { return kind_ == Kind::kBlocks; }
  // Takes over what a client's record says.
  void Learn(const v1::LegacyProfile& profile);
  // For the client's record; empty if it is not known.
  absl::string_view RecordText(const wire::Dialect& dialect) const;

  // Whether padding may follow a message, which TakePadding() has to wait for.
  bool MayHavePadding(const wire::Dialect& dialect) const {
    return dialect.MaySendBlocks() && kind_ != Kind::kStream;
  }
  // Takes the padding of a message of `id` that had this many bytes and was read, and finds out by
  // it which framing this is. Waits for the client.
  void TakePadding(Connection& connection, const wire::Dialect& dialect, const ClientId& id,
                   uint64_t message_size);

  // An answer as this client wants it.
  std::string Frame(std::string answer) const;

 private:
  enum class Kind { kUnknown, kStream, kBlocks };

  const FramingOptions& options_;
  Kind kind_ = Kind::kUnknown;
};

}  // namespace backup::bridge
