#include "services/backupctl/output.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "glog/logging.h"
#include "google/protobuf/util/json_util.h"
#include "nlohmann/json.hpp"

namespace backup::ctl {
namespace {

constexpr size_t kColumnGap = 2;

// Columns on a terminal, near enough: one for each UTF-8 character.
size_t DisplayWidth(absl::string_view text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string Printable(absl::string_view text) {
  std::string printable;
  for (const char c : text) {
    if (absl::ascii_iscntrl(static_cast<unsigned char>(c))) {
      absl::StrAppendFormat(&printable, "%%%02X", static_cast<unsigned char>(c));
    } else {
      printable.push_back(c);
    }
  }
  return printable;
}

std::string HumanSize(int64_t bytes) {
  constexpr std::array<const char*, 6> kUnits = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  if (bytes < 1024) return absl::StrCat(bytes, " B");
  double size = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // What would be rounded up to 1024.0 is 1.0 of the next unit.
  while (size >= 1023.95 && unit + 1 < kUnits.size()) {
    size /= 1024;
    ++unit;
  }
  return absl::StrFormat("%.1f %s", size, kUnits[unit]);
}

std::string TimeText(const google::protobuf::Timestamp& time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixSeconds(time.seconds()),
                          absl::UTCTimeZone());
}

void Table::AddRow(const std::vector<std::string>& cells) {
  CHECK_EQ(cells.size(), columns_.size());
  std::vector<std::string> row;
  for (const std::string& cell : cells) row.push_back(Printable(cell));
  rows_.push_back(std::move(row));
}

std::string Table::Render() const {
  std::vector<std::string> titles;
  std::vector<size_t> widths;
  for (const Column& column : columns_) {
    titles.push_back(column.title);
    widths.push_back(DisplayWidth(column.title));
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], DisplayWidth(row[i]));
  }
  std::string text;
  const auto append = [&](const std::vector<std::string>& row) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      if (i > 0) line.append(kColumnGap, ' ');
      const std::string padding(widths[i] - DisplayWidth(row[i]), ' ');
      absl::StrAppend(&line, columns_[i].align == Align::kRight ? padding : "", row[i],
                      columns_[i].align == Align::kLeft ? padding : "");
    }
    absl::StripTrailingAsciiWhitespace(&line);
    absl::StrAppend(&text, line, "\n");
  };
  if (std::any_of(titles.begin(), titles.end(), [](const auto& title) { return !title.empty(); })) {
    append(titles);
  }
  for (const auto& row : rows_) append(row);
  return text;
}

std::string RenderFields(const std::vector<std::pair<std::string, std::string>>& fields) {
  Table table({{""}, {""}});
  for (const auto& [name, value] : fields) table.AddRow({absl::StrCat(name, ":"), value});
  return table.Render();
}

void Output::Text(absl::string_view text) { out_ << text << std::flush; }

void Output::Json(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.always_print_primitive_fields = true;
  std::string line;
  const auto status = google::protobuf::util::MessageToJsonString(message, &line, options);
  CHECK(status.ok()) << status.ToString();
  out_ << line << std::endl;
}

void Output::Json(const nlohmann::json& object) {
  // A path may hold bytes that are not UTF-8, which JSON cannot.
  out_ << object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
}

void Output::Note(absl::string_view line) {
  if (!options_.quiet) out_ << Printable(line) << std::endl;
}

void Output::Problem(absl::string_view line) {
  err_ << "backupctl: " << Printable(line) << std::endl;
}

}  // namespace backup::ctl
