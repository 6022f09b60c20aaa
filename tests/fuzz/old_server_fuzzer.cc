// What an old server left, whatever is in its columns and files: rows that can be taken over are
// whole, times are times that can be sent, and all else is left out and told in one line.

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/byte_stream.h"
#include "base/name_text.h"
#include "base/printable.h"
#include "crypto/public_key.h"
#include "glog/logging.h"
#include "services/backupctl/old_server/content_kind.h"
#include "services/backupctl/old_server/python_bytes.h"
#include "services/backupctl/old_server/rows.h"
#include "tests/fuzz/fuzz_target.h"

namespace backup::fuzz {
namespace {

using namespace ctl::old_server;  // NOLINT: all of it.

// What google.protobuf.Timestamp may be.
const absl::Time kFirstTime = absl::FromCivil(absl::CivilSecond(1, 1, 1), absl::UTCTimeZone());
const absl::Time kEndTime = absl::FromCivil(absl::CivilSecond(10000, 1, 1), absl::UTCTimeZone());

Cell TakeCell(Input& input) {
  Cell cell;
  cell.type = static_cast<Cell::Type>(input.Below(5));
  switch (cell.type) {
    case Cell::Type::kNull:
      break;
    case Cell::Type::kInteger:
      cell.integer = static_cast<int64_t>(input.Uint(8));
      break;
    case Cell::Type::kReal:
      cell.real = static_cast<double>(static_cast<int64_t>(input.Uint(8)));
      cell.real /= 1 + static_cast<double>(input.Byte());
      break;
    case Cell::Type::kText:
    case Cell::Type::kBlob:
      cell.bytes = std::string(input.Text(400));
      break;
  }
  return cell;
}

DatabaseTable TakeTable(Input& input, const std::string& name, std::vector<std::string> columns) {
  DatabaseTable table{name, std::move(columns), {}};
  if (input.Byte() % 8 == 0) table.columns.emplace_back(input.Text(20));
  const size_t rows = input.Below(6);
  for (size_t row = 0; row < rows; ++row) {
    table.rows.emplace_back();
    for (size_t column = 0; column < table.columns.size(); ++column)
      table.rows.back().push_back(TakeCell(input));
  }
  return table;
}

void CheckTime(const std::optional<absl::Time>& time) {
  if (time) CHECK(*time >= kFirstTime && *time < kEndTime) << *time;
}

void CheckName(const std::string& name) {
  CHECK(!name.empty() && name.size() <= kMaxNameSize && name.find('\0') == std::string::npos);
}

void CheckRows(const Database& database, const Rows& rows) {
  CHECK_EQ(rows.clients.size() + rows.files.size() + rows.left_out.size(),
           database.clients.rows.size() + database.files.rows.size());
  for (const Client& client : rows.clients) {
    CHECK(client.id != ClientId());
    CheckName(client.name);
    CheckTime(client.last_seen);
    CHECK(client.public_key.empty() || crypto::PublicKey::Parse(client.public_key).ok());
    CHECK(client.session_key.empty() || client.session_key.size() == 16 ||
          client.session_key.size() == 32);
    CHECK(Printable(client.key_problem) == client.key_problem);
  }
  for (const File& file : rows.files) {
    CHECK(file.client != ClientId() && !file.path.empty());
    CheckName(file.name);
  }
  for (const LeftOut& left_out : rows.left_out) {
    CHECK(!left_out.why.empty() && left_out.subject.find_first_of("\r\n\x1b") == std::string::npos);
    CHECK(NameToText(left_out.why) == left_out.why) << left_out.why;
  }
}

void TryRows(Input& input) {
  Database database;
  database.clients = TakeTable(input, "clients", {"ID", "Name", "PublicKey", "LastSeen", "AESKey"});
  if (input.Flag())
    database.files = TakeTable(input, "files", {"ID", "File Name", "Path Name", "Verified"});
  const auto names = ParseColumnNames(input.Text(60));
  if (!names.ok()) CHECK(absl::IsInvalidArgument(names.status()));
  const auto rows = ReadRows(database, names.ok() ? *names : ColumnNames(), absl::UTCTimeZone());
  if (rows.ok()) return CheckRows(database, *rows);
  CHECK(absl::IsInvalidArgument(rows.status()) && !rows.status().message().empty());
}

// As Python's repr() has bytes.
std::string PythonText(absl::string_view bytes) {
  std::string text = "b'";
  for (const char c : bytes) {
    const bool is_plain = c >= ' ' && c <= '~' && c != '\'' && c != '\\';
    absl::StrAppend(&text, is_plain
                               ? std::string(1, c)
                               : absl::StrCat("\\x", absl::BytesToHexString(std::string(1, c))));
  }
  return text + "'";
}

void TryPythonBytes(absl::string_view text) {
  CHECK(*ParsePythonBytes(PythonText(text)) == text);
  if (const auto bytes = ParsePythonBytes(text); bytes) {
    CHECK_LE(bytes->size(), text.size());
    CHECK(*ParsePythonBytes(PythonText(*bytes)) == *bytes);
  }
}

void TryContent(Input& input) {
  const std::string key(input.Flag() ? input.Exactly(input.Flag() ? 16 : 32) : "");
  std::string content(input.Rest());
  if (key.size() == 16) content.resize(content.size() / 16 * 16);
  const auto evidence = Examine(StringAccess(content), key);
  CHECK(evidence.ok()) << evidence.status();
  CHECK(evidence->kind == ContentKind::kPlain || evidence->fits_key);
  CHECK(!evidence->fits_key || !key.empty());
  CHECK(!evidence->undecided || evidence->could_be_both);
  CHECK(!evidence->looks_encrypted || evidence->kind == ContentKind::kPlain);
}

}  // namespace

void TryInput(absl::string_view bytes) {
  Input input(bytes);
  switch (input.Below(5)) {
    case 0:
    case 1:
      return TryRows(input);
    case 2:
      return TryPythonBytes(input.Rest());
    case 3: {
      const Cell cell{Cell::Type::kText, 0, 0, std::string(input.Rest())};
      CheckTime(ReadTime(cell, absl::UTCTimeZone()));
      if (const auto id = ReadId(cell); id) CHECK(*id != ClientId());
      return;
    }
    default:
      return TryContent(input);
  }
}

}  // namespace backup::fuzz
