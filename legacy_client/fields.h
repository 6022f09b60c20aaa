#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "legacy_client/dialect_file.h"

// Single fields of a dialect's messages: dialect.proto, Field and TextEncoding.
namespace backup::legacy_client {

// Whether fields of this kind hold an integer.
bool IsInteger(bridge::v1::Field::Kind kind);
// The largest value of an integer field, at most that of int64_t.
int64_t MaxOf(const bridge::v1::Field& field);
// How many bytes a field has room for.
uint32_t RoomIn(const bridge::v1::Field& field);

// `value` must not be above MaxOf(). `default_order` is the dialect's.
void AppendInteger(const bridge::v1::Field& field, bridge::v1::ByteOrder default_order,
                   uint64_t value, std::string& out);
// `bytes` must have the field's width.
uint64_t DecodeInteger(const bridge::v1::Field& field, bridge::v1::ByteOrder default_order,
                       absl::string_view bytes);

// `bytes`, then what the field is filled up with; nothing more in a field without a width. `bytes`
// must not be longer than RoomIn().
void AppendFilled(const bridge::v1::Field& field, absl::string_view bytes, std::string& out);
// A name and what ends it, filled up as above. `name` must not be longer than RoomIn().
void AppendName(const bridge::v1::Field& field, absl::string_view name, std::string& out);
// Whether the reader of the field will see all of `name`: it is not too long, and nothing in it
// looks like its end.
bool HoldsName(const bridge::v1::Field& field, absl::string_view name);

// How many characters `size` bytes become; of PEM the BASE64 alone.
int64_t TextSize(bridge::v1::TextEncoding encoding, int64_t size);
// `bytes` as text. `pem_label` is what PEM says about them, for example "PUBLIC KEY".
std::string EncodeText(bridge::v1::TextEncoding encoding, absl::string_view bytes,
                       absl::string_view pem_label = "");
// The bytes that a field holds, whatever it is filled up with behind the text; nothing if it is not
// as `encoding` has it. BINARY fields are what they are.
std::optional<std::string> DecodeText(bridge::v1::TextEncoding encoding, absl::string_view field);

}  // namespace backup::legacy_client
