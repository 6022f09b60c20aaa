#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "services/backupctl/old_server/database.h"

// What the rows of the old server, and of its relatives by the published protocol, say.
namespace backup::ctl::old_server {

// A client as the old server had it.
struct Client {
  ClientId id;
  std::string name;         // Raw bytes, 1 to kMaxNameSize.
  std::string public_key;   // SubjectPublicKeyInfo; empty: none, or none that can be used.
  std::string session_key;  // 16 or 32 bytes; may be there without a public key.
  std::optional<absl::Time> last_seen;
  std::string key_problem;  // Why it is taken over without the keys that are there; or empty.
  std::string note;         // What else is to be told of it; or empty.
};

// A row of the table of files.
struct File {
  ClientId client;
  std::string name;  // Raw bytes, 1 to kMaxNameSize.
  std::string path;  // As the old server wrote it, raw bytes.
  bool verified = false;
};

// A row that cannot be taken over.
struct LeftOut {
  enum class Kind { kClient, kFile };
  Kind kind = Kind::kClient;
  std::string subject;  // What can be told of it, as text.
  std::string path;     // Of a file: as in File; may be empty.
  std::string why;
};

struct Rows {
  std::vector<Client> clients;  // Of one id once; the last seen first.
  std::vector<File> files;
  std::vector<LeftOut> left_out;
  // Whether `verified` says something: the old server itself never set it.
  bool tells_verified = false;
};

// "old=ours,...": what a column is called there, perhaps "table.column", and what we call it. Case,
// blanks, underscores and hyphens do not matter.
using ColumnNames = std::vector<std::pair<std::string, std::string>>;
// InvalidArgument if it is not that, or `ours` is none of our names; the message tells them.
absl::StatusOr<ColumnNames> ParseColumnNames(absl::string_view text);

// Reads all rows; `zone` is where the old server ran, for times without one. InvalidArgument if a
// column is not found or found twice, or one of `columns` is not there; the message says what to
// do.
absl::StatusOr<Rows> ReadRows(const Database& database, const ColumnNames& columns,
                              absl::TimeZone zone);

// An id in any of its forms: 16 raw bytes, UUID text, 32 hex digits, or the text of a Python bytes
// literal of one of these; as text or as a blob.
std::optional<ClientId> ReadId(const Cell& cell);
// A time as text, with a zone or in `zone`, or as seconds (or milliseconds) since 1970. None before
// 1970 or after the year 5138.
std::optional<absl::Time> ReadTime(const Cell& cell, absl::TimeZone zone);

}  // namespace backup::ctl::old_server
