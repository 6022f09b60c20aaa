#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

// Leaves the function with the status of `expr` if that is not OK.
#define RETURN_IF_ERROR(expr) STATUS_MACROS_RETURN(STATUS_MACROS_CONCAT(status_, __LINE__), expr)

// Evaluates `expr`, an absl::StatusOr; leaves the function with its status, or assigns its value to
// `lhs`.
#define ASSIGN_OR_RETURN(lhs, expr) \
  STATUS_MACROS_ASSIGN(STATUS_MACROS_CONCAT(status_or_, __LINE__), lhs, expr)

#define STATUS_MACROS_RETURN(result, expr)                         \
  do {                                                             \
    if (absl::Status result = (expr); !result.ok()) return result; \
  } while (false)
#define STATUS_MACROS_ASSIGN(result, lhs, expr) \
  auto result = (expr);                         \
  if (!result.ok()) return result.status();     \
  lhs = *std::move(result)
#define STATUS_MACROS_CONCAT(a, b) STATUS_MACROS_CONCAT_INNER(a, b)
#define STATUS_MACROS_CONCAT_INNER(a, b) a##b
