#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/string_view.h"
#include "bridge/wire/dialect.h"

// Ids, keys and contents that are sent as text.
namespace backup::wire {

// The bytes that a field holds; blanks behind the text, or a NUL and anything
// behind it, are ignored. Nothing if it is not
// what `encoding` allows. Of kBinary the field as it is.
std::optional<std::string> DecodeText(TextEncoding encoding, absl::string_view field);

// `bytes` as text; lower case, without line breaks. Of kPem only the BASE64.
std::string EncodeText(TextEncoding encoding, absl::string_view bytes);

// How many characters `size` bytes become.
uint64_t TextSize(TextEncoding encoding, uint64_t size);

// How many bytes of ciphertext, which are whole blocks, `size` characters are.
uint64_t CiphertextSizeOfText(TextEncoding encoding, uint64_t size);

}  // namespace backup::wire
