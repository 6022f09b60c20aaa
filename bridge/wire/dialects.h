#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "bridge/wire/dialect.h"

namespace backup::wire {

// Some of a DialectSet: bit i stands for its i-th dialect.
using DialectMask = uint64_t;
inline constexpr size_t kMaxDialects = 64;

// The dialects that are built in: bridge/dialects.
absl::Span<const Dialect> BuiltInDialects();

// The dialects that are served on one port. Immutable; thread-safe.
class DialectSet {
 public:
  struct Options {
    int port = 0;
    // The dialect that clients without a record are taken for where requests alone do not tell;
    // empty: the one that names the port, or else is named by the others.
    std::string preferred = "";
  };

  // The built-in dialects and `further` ones. InvalidArgument, with one line for each, if requests
  // of two mean different things and nothing tells them apart, or if two have one name.
  static absl::StatusOr<DialectSet> Make(std::vector<Dialect> further, Options options);

  absl::Span<const Dialect> dialects() const { return dialects_; }
  DialectMask all() const;

  // Those of `among` that claim the request whose header is at the front of `bytes`. A dialect
  // whose header has not come whole, and which may claim it then, is among `need_more`.
  struct Candidates {
    DialectMask claiming = 0;
    DialectMask need_more = 0;
  };
  Candidates FindCandidates(absl::string_view bytes, DialectMask among) const;

  // The dialect of this name or label; null if there is none.
  const Dialect* FindByName(absl::string_view name) const;
  // Of `candidates`, which are not empty, the one that a client without a record is taken for.
  const Dialect& Prefer(DialectMask candidates) const;
  // Whether it is the one that the port or Options::preferred says, so that Prefer() goes not by
  // mere order.
  bool IsDeclared(const Dialect& preferred) const {
    return preferred.IsCalled(options_.preferred) || preferred.IsAtHomeOn(options_.port);
  }
  DialectMask MaskOf(const Dialect& dialect) const;

  // What to answer in before a request's dialect is known.
  const Dialect& default_dialect() const;

 private:
  DialectSet(std::vector<Dialect> dialects, Options options)
      : dialects_(std::move(dialects)), options_(std::move(options)) {}

  std::vector<Dialect> dialects_;
  Options options_;
};

// What else might be speaking, from the first bytes of a connection that no dialect claims:
// "HTTP/2", "HTTP/1", "TLS", or "" if it looks like none of them.
absl::string_view DetectForeignProtocol(absl::string_view bytes);

}  // namespace backup::wire
