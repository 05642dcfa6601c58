//! What is going on underneath, gathered at a click, to be copied into a report.

use leptos::prelude::*;

use super::{copy_button::CopyButton, session};
use crate::session::Intent;

/// A button, and the report once it was pressed.
#[component]
pub(super) fn Diagnostics() -> impl IntoView {
    let session = session();
    let report = session.model.diagnosis;
    let gather = move |_| {
        // A session that is busy or over shows so by itself.
        let _ = session.want(Intent::Diagnose);
    };
    let shown = move || {
        report.with(Option::is_some).then(|| {
            view! {
                <pre data-testid="diagnostics" tabindex="0">
                    {move || report.get().unwrap_or_default()}
                </pre>
                <CopyButton label="Copy report" text=move || report.get_untracked().unwrap_or_default() />
            }
        })
    };
    view! {
        <button type="button" class="quiet" data-testid="diagnose" on:click=gather>
            "Gather diagnostics"
        </button>
        {shown}
    }
}
