#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/time/time.h"
#include "services/backupctl/exit_code.h"
#include "services/backupctl/old_server/content_kind.h"
#include "services/backupctl/output.h"

namespace backup::ctl::old_server {

enum class Result { kImported, kKeyAdded, kUnchanged, kLeftOut };

// What became of a client.
struct ClientLine {
  std::string name;          // As text; or what can be told of the row.
  std::string client_id;     // Empty if it has none.
  int session_key_bits = 0;  // 0: without keys.
  std::optional<absl::Time> last_seen;
  Result result = Result::kImported;
  bool keys_left_out = false;
  std::string why;  // It, or its keys, are left out; or a note; or empty.
};

// What became of a file.
struct FileLine {
  std::string path;  // As text, like all names here.
  std::string file_name;
  std::string client;  // Name; empty if not known.
  std::string client_id;
  std::optional<int64_t> size_bytes;  // Of the plaintext.
  std::optional<ContentKind> content;
  std::string sha256;  // 32 bytes, or empty.
  std::optional<absl::Time> receive_time;
  Result result = Result::kImported;
  std::string why;  // It is left out; or a note; or empty.
};

// Tells what an import did, or would do: with JSON one object a line as it happens, else two tables
// at the end. Used by one thread at a time.
class Report {
 public:
  // `output` must outlive this.
  Report(Output& output, bool dry_run) : output_(output), dry_run_(dry_run) {}

  void Add(const ClientLine& line);
  void Add(const FileLine& line);
  // Something that is wrong with the whole; counts as left out.
  void AddProblem(absl::string_view what);
  // The tables, if they are still to come, and the sums.
  void Print();
  // Whether nothing was added yet.
  bool is_empty() const {
    return client_count_ + key_count_ + file_count_ + unchanged_ + left_out_ == 0;
  }
  // By what was added.
  ExitCode exit_code() const;

 private:
  std::string TextOf(Result result) const;

  Output& output_;
  const bool dry_run_;
  Table clients_{{{"CLIENT"}, {"CLIENT ID"}, {"KEY"}, {"LAST SEEN"}, {"RESULT"}, {"WHY"}}};
  Table files_{
      {{"FILE"}, {"CLIENT"}, {"SIZE", Table::Align::kRight}, {"CONTENT"}, {"RESULT"}, {"WHY"}}};
  int64_t client_count_ = 0;  // That were imported, as the next two.
  int64_t key_count_ = 0;
  int64_t file_count_ = 0;
  int64_t bytes_ = 0;
  int64_t unchanged_ = 0;
  int64_t left_out_ = 0;
};

}  // namespace backup::ctl::old_server
