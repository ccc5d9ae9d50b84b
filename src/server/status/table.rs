//! Tables for people: with a caption, and each cell with the head of its column beside it, so that a
//! narrow screen can show a row as a list. Roles say what a changed layout would hide.

use super::text::Html;

/// Rows under heads.
pub(super) struct Table<'h> {
    html: &'h mut Html,
    heads: &'static [&'static str],
}

impl<'h> Table<'h> {
    pub(super) fn open(
        html: &'h mut Html,
        caption: &'static str,
        heads: &'static [&'static str],
    ) -> Self {
        html.raw("<table role=\"table\"><caption>").raw(caption).raw("</caption>");
        html.raw("<thead role=\"rowgroup\"><tr role=\"row\">");
        for head in heads {
            html.raw("<th scope=\"col\" role=\"columnheader\">").raw(head).raw("</th>");
        }
        html.raw("</tr></thead><tbody role=\"rowgroup\">");
        Self { html, heads }
    }

    /// A row; its first cell is its head.
    pub(super) fn row(&mut self, cells: &[Html]) {
        self.html.raw("<tr role=\"row\">");
        for (column, (cell, head)) in cells.iter().zip(self.heads).enumerate() {
            if column == 0 {
                self.html.raw("<th scope=\"row\" role=\"rowheader\">").html(cell).raw("</th>");
            } else {
                self.html.raw("<td role=\"cell\" data-head=\"").raw(head).raw("\">");
                self.html.html(cell).raw("</td>");
            }
        }
        self.html.raw("</tr>");
    }

    pub(super) fn close(self) {
        self.html.raw("</tbody></table>");
    }
}

/// A cell of one thing.
pub(super) fn cell(write: impl FnOnce(&mut Html)) -> Html {
    let mut html = Html::new();
    write(&mut html);
    html
}
