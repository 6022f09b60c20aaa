#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "backup/v1/types.pb.h"
#include "base/ids.h"
#include "bridge/net/connection.h"
#include "bridge/wire/dialect.h"

namespace backup::bridge {

struct FramingOptions {
  // How long the padding of a first message may take, if it shows whether the client pads; of
  // others.
  absl::Duration first_padding_timeout = absl::Milliseconds(30);
  absl::Duration padding_timeout = absl::Seconds(2);
};

// How a client fills its messages up, where its dialect leaves that to it, and wants answers filled
// up: docs/wire-protocol.md. Used by one thread at a time.
class Framing {
 public:
  // `options` must outlive this.
  explicit Framing(const FramingOptions& options) : options_(options) {}

  // Whether the client fills its messages up; nothing if that is still to be found out.
  std::optional<bool> pads(const wire::Dialect& dialect) const;
  // Takes over what a client's record says.
  void Learn(const v1::LegacyProfile& profile);
  // Takes over what a request showed.
  void Learn(bool pads) { pads_ = pads; }
  // For the client's record; empty if it is not known.
  std::string RecordText(const wire::Dialect& dialect) const;

  // Whether padding may follow a message, which TakePadding() has to wait for.
  bool MayHavePadding(const wire::Dialect& dialect) const { return pads(dialect).value_or(true); }
  // Takes the padding of a message of `id` that had this many bytes and was read, and finds out by
  // it what is not known yet. What comes instead of it may be the same client's next request. Waits
  // for the client.
  void TakePadding(Connection& connection, const wire::Dialect& dialect, const ClientId& id,
                   uint64_t message_size);

  // An answer as this client wants it.
  std::string Frame(const wire::Dialect& dialect, std::string answer) const;

 private:
  const FramingOptions& options_;
  std::optional<bool> pads_;  // With dialects that leave it to the client.
};

}  // namespace backup::bridge
